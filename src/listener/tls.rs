//! TLS: what is read from files, how clients are verified, and what their certificates call them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error as RustlsError, RootCertStore,
    ServerConfig, SignatureScheme,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use webpki::EndEntityCert;

use super::PeerName;
use crate::config::{ClientCertificates, TlsFiles};

/// The only protocol that is spoken (RFC 9113 §3.2).
const HTTP_2: &[u8] = b"h2";

/// How connections are secured. Cheap to clone.
pub(super) type TlsConfig = Arc<ServerConfig>;

/// Why TLS cannot be set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or has something else in it.
    #[error("{variable}: {path}: {problem}")]
    File {
        /// The variable that names the file.
        variable: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

fn wrong(variable: &'static str, path: &Path, problem: &dyn ToString) -> TlsError {
    TlsError::File {
        variable,
        path: path.to_owned(),
        problem: problem.to_string(),
    }
}

const CERT_FILE: &str = "IDENTITY_TLS_CERT_FILE";
const KEY_FILE: &str = "IDENTITY_TLS_KEY_FILE";
const CLIENT_CA_FILE: &str = "IDENTITY_TLS_CLIENT_CA_FILE";

/// The contents of the files, which tell whether something has changed.
#[derive(PartialEq, Eq)]
pub(super) struct Material {
    certificate: Vec<u8>,
    key: zeroize::Zeroizing<Vec<u8>>,
    authorities: Option<Vec<u8>>,
}

impl Material {
    pub(super) fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let read =
            |variable, path: &Path| std::fs::read(path).map_err(|error| wrong(variable, path, &error));
        refuse_exposed(&files.key)?;
        Ok(Self {
            certificate: read(CERT_FILE, &files.certificate)?,
            key: read(KEY_FILE, &files.key)?.into(),
            authorities: files
                .clients
                .as_ref()
                .map(|clients| read(CLIENT_CA_FILE, &clients.authorities))
                .transpose()?,
        })
    }
}

/// Refuses a private key that every user of the machine can read, as the master key is refused.
fn refuse_exposed(path: &Path) -> Result<(), TlsError> {
    use std::os::unix::fs::PermissionsExt;
    const READABLE_BY_OTHERS: u32 = 0o004;
    let metadata = std::fs::metadata(path).map_err(|error| wrong(KEY_FILE, path, &error))?;
    if metadata.permissions().mode() & READABLE_BY_OTHERS == 0 {
        Ok(())
    } else {
        Err(wrong(KEY_FILE, path, &"can be read by everyone; chmod o-r it"))
    }
}

/// Makes of the files how connections are secured.
pub(super) fn configure(files: &TlsFiles, material: &Material) -> Result<TlsConfig, TlsError> {
    let certificate = |problem: &dyn ToString| wrong(CERT_FILE, &files.certificate, problem);
    let chain = CertificateDer::pem_slice_iter(&material.certificate)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| certificate(&error))?;
    if chain.is_empty() {
        return Err(certificate(&"has no certificate"));
    }
    let key = PrivateKeyDer::from_pem_slice(&material.key)
        .map_err(|_| wrong(KEY_FILE, &files.key, &"has no private key"))?;
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| certificate(&error))?;
    let builder = match (&files.clients, &material.authorities) {
        (Some(clients), Some(authorities)) => {
            builder.with_client_cert_verifier(Arc::new(NamedClients {
                inner: verifier(clients, authorities, provider)?,
            }))
        }
        _ => builder.with_no_client_auth(),
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| certificate(&format!("does not fit to its key: {error}")))?;
    config.alpn_protocols = vec![HTTP_2.to_vec()];
    // A session that is resumed would not have its certificate verified again. Connections live long; a full handshake
    // for each is cheap.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

fn verifier(
    clients: &ClientCertificates,
    authorities: &[u8],
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let problem = |problem: &dyn ToString| wrong(CLIENT_CA_FILE, &clients.authorities, problem);
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(authorities) {
        roots
            .add(authority.map_err(|error| problem(&error))?)
            .map_err(|error| problem(&error))?;
    }
    if roots.is_empty() {
        return Err(problem(&"has no certificate"));
    }
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    if !clients.is_required {
        builder = builder.allow_unauthenticated();
    }
    builder.build().map_err(|error| problem(&error))
}

/// Verifies clients as rustls does, and refuses those whose name stands for many.
#[derive(Debug)]
struct NamedClients {
    inner: Arc<dyn ClientCertVerifier>,
}

impl ClientCertVerifier for NamedClients {
    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, RustlsError> {
        let verified = self.inner.verify_client_cert(end_entity, intermediates, now)?;
        let names =
            names(end_entity).ok_or(RustlsError::InvalidCertificate(CertificateError::BadEncoding))?;
        let has_wildcard = names.iter().any(|name| match name {
            PeerName::Uri(text) | PeerName::Dns(text) => text.contains('*'),
        });
        if has_wildcard {
            return Err(RustlsError::InvalidCertificate(
                CertificateError::ApplicationVerificationFailure,
            ));
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Returns the subject alternative names of a certificate that are URIs or DNS names.
fn names(certificate: &CertificateDer<'_>) -> Option<Arc<[PeerName]>> {
    let parsed = EndEntityCert::try_from(certificate).ok()?;
    let uris = parsed
        .valid_uri_names()
        .map(|name| PeerName::Uri(name.to_owned()));
    let hosts = parsed
        .valid_dns_names()
        .map(|name| PeerName::Dns(name.to_ascii_lowercase()));
    Some(uris.chain(hosts).collect())
}

/// Why there is no secured connection.
#[derive(Debug)]
pub(super) enum TlsHandshakeError {
    /// The connection ended before the handshake did.
    Ended,
    /// The handshake failed.
    Failed(String),
}

/// Secures a connection. Returns what the client's certificate calls it.
pub(super) async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
    config: TlsConfig,
    plain: S,
) -> Result<(TlsStream<S>, Arc<[PeerName]>), TlsHandshakeError> {
    let accepted = TlsAcceptor::from(config).accept(plain).await;
    let secured = accepted.map_err(|error| match error.get_ref() {
        // What the library says of a client: the kind of its mistake, and nothing that it has sent.
        Some(cause) if cause.is::<RustlsError>() => TlsHandshakeError::Failed(cause.to_string()),
        _ => TlsHandshakeError::Ended,
    })?;
    let (_, session) = secured.get_ref();
    if session.alpn_protocol() != Some(HTTP_2) {
        let problem = "the client did not ask for h2 (ALPN)".to_owned();
        return Err(TlsHandshakeError::Failed(problem));
    }
    let shown = session.peer_certificates().and_then(<[_]>::first);
    let names = shown.and_then(names).unwrap_or_default();
    Ok((secured, names))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};
    use rustls::pki_types::CertificateDer;

    use super::names;
    use crate::listener::PeerName;

    #[test]
    fn names_are_uris_and_hosts_and_nothing_else() -> Result<(), rcgen::Error> {
        let mut params =
            CertificateParams::new(vec!["Todo.Example.COM".to_owned(), "192.0.2.1".to_owned()])?;
        let uri = "spiffe://example.com/Todo";
        params.subject_alt_names.push(SanType::URI(uri.try_into()?));
        let certificate = params.self_signed(&KeyPair::generate()?)?;

        let found = names(certificate.der());

        let expected = [
            PeerName::Uri(uri.to_owned()),
            PeerName::Dns("todo.example.com".to_owned()),
        ];
        assert_eq!(found.as_deref(), Some(expected.as_slice()));
        assert_eq!(names(&CertificateDer::from_slice(b"no certificate")), None);
        Ok(())
    }
}
