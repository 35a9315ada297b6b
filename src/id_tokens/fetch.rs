//! Fetching the keys of a provider.
//!
//! Only addresses of the configuration, and what the issuer's own document names, are fetched: over TLS, or in plain
//! text from this machine. Nothing is followed elsewhere, and an answer may take only so long and be only so large.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, StatusCode, header};
use hyper::body::Body;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::Url;

use super::json;
use super::jwks::{self, Key};
use super::provider::KeySource;

/// The most bytes of an answer. The keys of the large providers are a few thousand.
const MAX_BYTES: usize = 256 * 1024;

/// The most bytes of the head of an answer.
const MAX_HEAD_BYTES: usize = 32 * 1024;

/// Why providers cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum ProviderSetupError {
    /// The authorities cannot be read.
    #[error("IDENTITY_PROVIDER_CA_FILE: {0} cannot be read as certificates")]
    CaFile(PathBuf),
    /// Nobody would be trusted.
    #[error("the trust store of this machine has no certificates; set IDENTITY_PROVIDER_CA_FILE")]
    NoRoots,
    /// TLS does not work.
    #[error("TLS to providers cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// Why keys could not be fetched. The texts are for operators; nothing of an answer is in them.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("it took too long")]
    TimedOut,
    #[error("no connection: {0}")]
    Connection(#[from] std::io::Error),
    #[error("no answer: {0}")]
    Http(#[from] hyper::Error),
    #[error("the address cannot be asked for")]
    Address,
    #[error("the answer has the status {0}")]
    Status(StatusCode),
    #[error("the answer has more than {MAX_BYTES} bytes")]
    TooLarge,
    #[error("the answer is not a JWK set with a key that can be used")]
    NoKeys,
    #[error(
        "the document of the issuer is not one of this issuer, or names no address that may be asked"
    )]
    Discovery,
}

/// Fetches keys. Cheap to clone.
#[derive(Clone)]
pub(super) struct Fetcher {
    tls: TlsConnector,
    timeout: Duration,
}

impl Fetcher {
    /// Prepares TLS: with the authorities of this machine, and those in a file.
    pub(super) fn new(ca_file: Option<&Path>, timeout: Duration) -> Result<Self, ProviderSetupError> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(path) = ca_file {
            let unreadable = || ProviderSetupError::CaFile(path.to_owned());
            let before = roots.len();
            for certificate in CertificateDer::pem_file_iter(path).map_err(|_| unreadable())? {
                roots.add(certificate.map_err(|_| unreadable())?)?;
            }
            if roots.len() == before {
                return Err(unreadable());
            }
        }
        if roots.is_empty() {
            return Err(ProviderSetupError::NoRoots);
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            tls: TlsConnector::from(Arc::new(config)),
            timeout,
        })
    }

    /// Fetches the keys of an issuer.
    pub(super) async fn keys(
        &self,
        source: &KeySource,
        issuer: &str,
    ) -> Result<HashMap<String, Key>, FetchError> {
        tokio::time::timeout(self.timeout, self.keys_in_time(source, issuer))
            .await
            .unwrap_or(Err(FetchError::TimedOut))
    }

    async fn keys_in_time(
        &self,
        source: &KeySource,
        issuer: &str,
    ) -> Result<HashMap<String, Key>, FetchError> {
        let address = match source {
            KeySource::Jwks(address) => address.clone(),
            KeySource::Discovery(address) => {
                let document = self.get(address).await?;
                keys_address(&document, address, issuer).ok_or(FetchError::Discovery)?
            }
        };
        jwks::parse(&self.get(&address).await?).ok_or(FetchError::NoKeys)
    }

    async fn get(&self, address: &Url) -> Result<Vec<u8>, FetchError> {
        let host = address.host_str().ok_or(FetchError::Address)?;
        // An IPv6 address is in brackets in a URL, and only there.
        let name = host.trim_start_matches('[').trim_end_matches(']');
        let port = address.port_or_known_default().ok_or(FetchError::Address)?;
        let stream = TcpStream::connect((name, port)).await?;
        if address.scheme() == "https" {
            let name = ServerName::try_from(name.to_owned()).map_err(|_| FetchError::Address)?;
            exchange(self.tls.connect(name, stream).await?, address).await
        } else {
            exchange(stream, address).await
        }
    }
}

/// Sends one request on a connection, and returns the body of the answer.
async fn exchange<S>(stream: S, address: &Url) -> Result<Vec<u8>, FetchError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD_BYTES)
        .handshake(TokioIo::new(stream))
        .await?;
    let connection = Driver(tokio::spawn(async move {
        // What goes wrong here also goes wrong for whoever waits for the answer.
        let _ = connection.await;
    }));
    let authority = address.authority();
    let request = Request::get(&address[url::Position::BeforePath..url::Position::AfterQuery])
        .header(header::HOST, authority)
        .header(header::ACCEPT, "application/json")
        .header(
            header::USER_AGENT,
            concat!("identity/", env!("CARGO_PKG_VERSION")),
        )
        .body(String::new())
        .map_err(|_| FetchError::Address)?;
    let response = sender.send_request(request).await?;
    // A redirect is an answer like any other that is not the keys.
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status(response.status()));
    }
    let mut body = response.into_body();
    let mut bytes = Vec::new();
    while let Some(frame) = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await
    {
        if let Ok(data) = frame?.into_data() {
            if bytes.len() + data.len() > MAX_BYTES {
                return Err(FetchError::TooLarge);
            }
            bytes.extend_from_slice(&data);
        }
    }
    drop(connection);
    Ok(bytes)
}

/// What moves the bytes of a connection. It ends with the exchange, however that ends.
struct Driver(tokio::task::JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Reads where the keys are from the document of an issuer, which must name that issuer (OpenID Connect Discovery 1.0
/// §4.3). An issuer elsewhere cannot name an address on this machine in plain text.
fn keys_address(document: &[u8], asked: &Url, issuer: &str) -> Option<Url> {
    let document = json::object(document)?;
    let text = |name: &str| document.get(name).and_then(serde_json::Value::as_str);
    if text("issuer") != Some(issuer) {
        return None;
    }
    let address = Url::parse(text("jwks_uri")?).ok()?;
    let is_allowed =
        address.scheme() == "https" || (asked.scheme() == "http" && may_be_fetched(&address));
    is_allowed.then_some(address)
}

/// Tells whether an address may be fetched: over TLS, or in plain text from this machine.
pub(crate) fn may_be_fetched(address: &Url) -> bool {
    let is_loopback = match address.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    let has_credentials = !address.username().is_empty() || address.password().is_some();
    let is_allowed = match address.scheme() {
        "https" => address.has_host(),
        "http" => is_loopback,
        _ => false,
    };
    is_allowed && !has_credentials
}
