//! The gRPC port: who may connect, over what, and for how long.
//!
//! A connection is admitted (`admission`), secured (`tls`), recognised as HTTP/2 (`preface`), and only then given
//! to hyper (`connection`), whose calls are watched over (`streams`). What a stranger can cause costs little at each
//! of these steps.

mod accept;
mod admission;
mod after;
mod certificates;
mod connection;
mod descriptors;
mod notices;
mod peer;
mod preface;
mod send_timeout;
mod streams;
mod tls;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::Service;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::Status;
use tonic::body::Body;

pub(crate) use accept::{Pauses, bind};
pub(crate) use certificates::Certificates;
pub use peer::{Peer, PeerName};
pub use tls::TlsError;

use crate::config::{ConnectionSettings, LimitSettings};
use crate::telemetry::ListenerMetrics;
use connection::Connections;
use streams::StreamRules;

/// What answers the calls of every connection.
pub(crate) trait GrpcService:
    Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> GrpcService for S where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// What the gRPC port needs.
pub(crate) struct Listener<'a> {
    /// Where connections come in.
    pub(crate) socket: TcpListener,
    /// Limits on connections.
    pub(crate) connections: ConnectionSettings,
    /// Limits on calls.
    pub(crate) limits: LimitSettings,
    /// What connections are secured with, if they are.
    pub(crate) certificates: Option<&'a Certificates>,
    /// How long running calls may take to finish at the end.
    pub(crate) drain_time: Duration,
    /// Becomes true when the server ends.
    pub(crate) end: watch::Receiver<bool>,
    /// Makes the status with which streams end when the server does.
    pub(crate) ending: fn() -> Status,
    /// Counts connections.
    pub(crate) metrics: ListenerMetrics,
}

impl Listener<'_> {
    /// Takes connections until the server ends, and then waits for those that are open. They all end with the future.
    pub(crate) fn serve<S>(self, service: S) -> impl Future<Output = ()> + Send + use<S>
    where
        S: GrpcService,
    {
        /// Of the time to finish, streams without news get half: what they still have to say takes a moment, and
        /// clients that were waiting for the end have time to read it.
        const PARTS_OF_THE_DRAIN: u32 = 2;
        let mut end = self.end.clone();
        let tls = self.certificates.map(Certificates::current);
        let rules = StreamRules {
            send_timeout: self.connections.send_timeout,
            patience: self.drain_time / PARTS_OF_THE_DRAIN,
            end: self.end,
            ending: self.ending,
            metrics: self.metrics,
        };
        let connections = Arc::new(Connections::new(self.connections, self.limits, tls, rules));
        let socket = self.socket;
        async move {
            let mut tasks = JoinSet::new();
            tokio::select! {
                never = accept::accept(socket, connections, service, &mut tasks) => match never {},
                _ = end.wait_for(|is_ending| *is_ending) => {}
            }
            // The port is closed: dropped with the future that took connections from it.
            while tasks.join_next().await.is_some() {}
        }
    }
}
