//! Certificates for the gRPC port, made by authorities of the tests' own.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, GeneralSubtree, IsCa, KeyPair,
    NameConstraints, SanType,
};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The protocol that the server speaks.
pub const H2: &[u8] = b"h2";

/// A certificate authority.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key.
pub struct Identity {
    /// The certificate.
    pub certificate: rcgen::Certificate,
    /// The key.
    pub key: KeyPair,
}

impl Authority {
    /// Makes an authority that may vouch for anybody.
    pub fn new() -> Self {
        Self::limited_to(&[])
    }

    /// Makes an authority that may only vouch for names under these.
    pub fn limited_to(names: &[&str]) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        if !names.is_empty() {
            params.name_constraints = Some(NameConstraints {
                permitted_subtrees: names
                    .iter()
                    .map(|name| GeneralSubtree::DnsName((*name).to_owned()))
                    .collect(),
                excluded_subtrees: Vec::new(),
            });
        }
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer }
    }

    /// Returns its certificate.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Vouches for somebody with DNS names and URIs.
    pub fn identity(&self, hosts: &[&str], uris: &[&str]) -> Identity {
        self.sign(&Self::params(hosts, uris))
    }

    /// Vouches for somebody, but no longer.
    pub fn expired(&self, hosts: &[&str]) -> Identity {
        let mut params = Self::params(hosts, &[]);
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 2, 1);
        self.sign(&params)
    }

    fn params(hosts: &[&str], uris: &[&str]) -> CertificateParams {
        let names: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        for uri in uris {
            params
                .subject_alt_names
                .push(SanType::URI((*uri).try_into().unwrap()));
        }
        params
    }

    fn sign(&self, params: &CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity { certificate, key }
    }

    /// Returns what a client that trusts this authority trusts.
    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        roots
    }

    /// How a client that trusts this authority connects, with or without a certificate of its own.
    pub fn client(&self, identity: Option<&Identity>) -> ClientConfig {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots());
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chain = vec![CertificateDer::clone(identity.certificate.der())];
                let key = PrivateKeyDer::try_from(identity.key.serialize_der()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = vec![H2.to_vec()];
        config
    }
}

impl Identity {
    /// Writes certificate and key into files that are there already, or new ones.
    pub fn write(&self, folder: &Path) -> (PathBuf, PathBuf) {
        let certificate = folder.join("server.pem");
        let key = folder.join("server.key");
        fs::write(&certificate, self.certificate.pem()).unwrap();
        fs::write(&key, self.key.serialize_pem()).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        (certificate, key)
    }
}

/// Connects to a server that calls itself `localhost`.
pub async fn connect_tls(
    address: SocketAddr,
    config: ClientConfig,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}
