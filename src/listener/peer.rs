//! Who is at the other end of a connection, as far as the connection itself tells.

use std::net::SocketAddr;
use std::sync::Arc;

use http::Request;

/// The other end of a connection. Every request has it among its extensions.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Where the connection comes from. Behind a proxy that is the proxy.
    pub address: SocketAddr,
    /// What the verified client certificate calls its owner. Empty without a client certificate.
    pub names: Arc<[PeerName]>,
}

/// A name from the subject alternative names of a client certificate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PeerName {
    /// A URI, such as the SPIFFE ID `spiffe://example.org/todo`.
    Uri(String),
    /// A DNS name without wildcards, in lower case.
    Dns(String),
}

impl Peer {
    /// Makes the peer of a connection that has shown no certificate.
    #[must_use]
    pub fn without_certificate(address: SocketAddr) -> Self {
        Self {
            address,
            names: Arc::new([]),
        }
    }

    /// Adds the peer to what is known about a request.
    pub(crate) fn introduce<B>(&self, request: &mut Request<B>) {
        request.extensions_mut().insert(self.clone());
    }
}
