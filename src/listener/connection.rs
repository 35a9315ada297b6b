//! One connection, from its first byte to its last.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::admission::{Admission, Place};
use super::after::After;
use super::notices::Notices;
use super::preface::{AfterPreface, PrefaceError, read_preface};
use super::send_timeout::SendTimeout;
use super::streams::{CallExecutor, StreamRules, WatchedBody};
use super::tls::{TlsConfig, TlsHandshakeError, handshake};
use super::{GrpcService, Peer, descriptors};
use crate::config::{ConnectionSettings, LimitSettings};
use crate::telemetry::{ListenerMetrics, RefusedConnection};

/// How long a connection without calls stays open after its client was told to go elsewhere: enough for the answer
/// to come from the other side of the earth.
const LINGER: Duration = Duration::from_secs(1);

/// What all connections of a server have in common.
#[derive(Debug)]
pub(super) struct Connections {
    pub(super) admission: Arc<Admission>,
    pub(super) notices: Notices,
    settings: ConnectionSettings,
    max_concurrent_streams: u32,
    tls: Option<watch::Receiver<TlsConfig>>,
    rules: Arc<StreamRules>,
}

impl Connections {
    pub(super) fn new(
        settings: ConnectionSettings,
        limits: LimitSettings,
        tls: Option<watch::Receiver<TlsConfig>>,
        rules: StreamRules,
    ) -> Self {
        let metrics = ListenerMetrics::clone(&rules.metrics);
        Self {
            admission: Arc::new(Admission::new(
                descriptors::room_for(settings.max_connections),
                settings.max_connections_per_peer,
                settings.max_silent_connections,
                metrics.clone(),
            )),
            notices: Notices::new(metrics),
            settings,
            max_concurrent_streams: limits.max_concurrent_streams,
            tls,
            rules: Arc::new(rules),
        }
    }

    /// Serves a connection until its client or the server ends it, or it gives way to another one.
    pub(super) async fn serve<S>(
        self: Arc<Self>,
        socket: TcpStream,
        address: SocketAddr,
        place: Place,
        service: S,
    ) where
        S: GrpcService,
    {
        // Small messages leave at once; failing to ask for that costs latency and nothing else.
        let _ = socket.set_nodelay(true);
        let guarded = SendTimeout::new(socket, self.settings.send_timeout);
        // Boxed, so that a connection that says nothing does not take the memory of one that is served.
        match self.tls.as_ref().map(|tls| tls.borrow().clone()) {
            None => {
                let opening = Box::pin(async {
                    let peer = Peer::without_certificate(address);
                    Ok((read_preface(guarded).await?, peer))
                });
                if let Some((stream, peer)) = self.open(address, &place, opening).await {
                    Box::pin(self.serve_calls(stream, peer, place, service)).await;
                }
            }
            Some(config) => {
                let opening = Box::pin(async {
                    let (secured, names) = handshake(config, guarded).await?;
                    let peer = Peer { address, names };
                    Ok((read_preface(secured).await?, peer))
                });
                if let Some((stream, peer)) = self.open(address, &place, opening).await {
                    Box::pin(self.serve_calls(stream, peer, place, service)).await;
                }
            }
        }
    }

    /// Waits until HTTP/2 has begun, but not for long.
    async fn open<T>(
        &self,
        address: SocketAddr,
        place: &Place,
        opening: impl Future<Output = Result<T, OpenError>>,
    ) -> Option<T> {
        let mut end = self.rules.end.clone();
        let outcome = tokio::select! {
            outcome = timeout(self.settings.handshake_timeout, opening) => outcome,
            // Counted where it was decided.
            () = place.must_give_way() => return None,
            _ = end.wait_for(|is_ending| *is_ending) => return None,
        };
        let refuse = |reason, detail: &str| self.notices.refused(reason, address, detail);
        match outcome {
            Ok(Ok(opened)) => {
                place.ready();
                return Some(opened);
            }
            // Whoever only looks whether the port is open, as load balancers do.
            Ok(Err(OpenError::Preface(PrefaceError::Ended))) => {}
            Ok(Err(OpenError::Preface(PrefaceError::OtherProtocol))) => {
                let detail = if self.tls.is_some() {
                    "the client does not speak HTTP/2"
                } else {
                    "the client does not speak HTTP/2 in plain text"
                };
                refuse(RefusedConnection::NotHttp2, detail);
            }
            Ok(Err(OpenError::Tls(TlsHandshakeError::Ended))) => {}
            Ok(Err(OpenError::Tls(TlsHandshakeError::Failed(detail)))) => {
                refuse(RefusedConnection::Tls, &detail);
            }
            Err(_) => refuse(
                RefusedConnection::TooSlow,
                "the client did not finish its handshake in time",
            ),
        }
        None
    }

    async fn serve_calls<I, S>(
        self: Arc<Self>,
        stream: AfterPreface<I>,
        peer: Peer,
        place: Place,
        service: S,
    ) where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S: GrpcService,
    {
        let ending = self.rules.ending;
        let calls = service_fn(move |mut request| {
            peer.introduce(&mut request);
            let answer = service.call(request);
            async move {
                let response = answer.await?;
                Ok::<_, Infallible>(response.map(|body| WatchedBody::new(body, ending)))
            }
        });
        let executor = CallExecutor::new(place.clone(), Arc::clone(&self.rules));
        let connection = self
            .protocol(executor)
            .serve_connection(TokioIo::new(stream), calls);
        let mut connection = pin!(connection);
        let mut end = self.rules.end.clone();
        let are_calls_concurrent = || place.are_calls_concurrent();
        let has_to_go_now = tokio::select! {
            outcome = After::others(connection.as_mut(), are_calls_concurrent) => return log_end(outcome),
            () = place.must_give_way() => true,
            _ = end.wait_for(|is_ending| *is_ending) => false,
            () = self.old_age() => false,
        };
        connection.as_mut().graceful_shutdown();
        if has_to_go_now {
            // No call runs, and somebody else has its place: its client is told, and not waited for.
            let told = poll_fn(|context| Poll::Ready(connection.as_mut().poll(context).is_ready()));
            told.await;
            return;
        }
        tokio::select! {
            outcome = After::others(connection, are_calls_concurrent) => log_end(outcome),
            // Its client does not answer, and nothing is lost.
            () = idle_for(&place, LINGER) => {}
        }
    }

    fn protocol(&self, executor: CallExecutor) -> http2::Builder<CallExecutor> {
        /// What a client may send of one call before the server has taken it. A call takes a few kilobytes, and the
        /// largest request fits into four round trips.
        const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
        /// The same for a whole connection: what it can make the server keep at most beside the messages of its
        /// calls.
        const CONNECTION_WINDOW_BYTES: u32 = 256 * 1024;
        /// What the server keeps of one answer before the client has taken it.
        const SEND_BUFFER_BYTES: usize = 64 * 1024;
        /// Calls that were reset before the server has looked at them, after which the client is sent away: an honest
        /// client has given up a few at once, rapid reset (CVE-2023-44487) thousands.
        const MAX_RESETS: usize = 20;
        /// Mistakes in the protocol that cost a stream, after which the client is sent away: it may have begun a few
        /// hundred calls before it hears of the limit.
        const MAX_MISTAKES: usize = 1024;
        let mut protocol = http2::Builder::new(executor);
        protocol
            .timer(TokioTimer::new())
            .max_concurrent_streams(self.max_concurrent_streams)
            .max_header_list_size(self.settings.max_header_bytes)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_send_buf_size(SEND_BUFFER_BYTES)
            .max_pending_accept_reset_streams(MAX_RESETS)
            .max_local_error_reset_streams(MAX_MISTAKES)
            .keep_alive_interval(self.settings.keepalive_interval)
            .keep_alive_timeout(self.settings.keepalive_timeout);
        protocol
    }

    /// Waits until the connection is so old that its client should connect anew; for ever if there is no such age.
    async fn old_age(&self) {
        match self.settings.max_age {
            None => std::future::pending().await,
            Some(age) => sleep(jittered(age)).await,
        }
    }
}

/// Why HTTP/2 has not begun.
enum OpenError {
    Preface(PrefaceError),
    Tls(TlsHandshakeError),
}

impl From<PrefaceError> for OpenError {
    fn from(error: PrefaceError) -> Self {
        Self::Preface(error)
    }
}

impl From<TlsHandshakeError> for OpenError {
    fn from(error: TlsHandshakeError) -> Self {
        Self::Tls(error)
    }
}

fn log_end(outcome: Result<(), hyper::Error>) {
    if let Err(error) = outcome {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Waits until no call has been running for some time.
async fn idle_for(place: &Place, time: Duration) {
    loop {
        sleep(time).await;
        if place.idle_time().is_some_and(|idle| idle >= time) {
            return;
        }
    }
}

/// Returns a time that is up to a tenth shorter or longer, so that clients that came at once do not go at once.
fn jittered(time: Duration) -> Duration {
    const STEPS: u32 = 200;
    const HALF_OF_THEM: u32 = STEPS / 2;
    const STEPS_PER_WHOLE: u32 = 1000;
    let (random, _) = uuid::Uuid::new_v4().as_u64_pair();
    let step = u32::try_from(random % u64::from(STEPS)).unwrap_or(HALF_OF_THEM);
    time * (STEPS_PER_WHOLE - HALF_OF_THEM + step) / STEPS_PER_WHOLE
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::jittered;

    #[test]
    fn ages_differ_by_a_tenth_at_most() {
        let ages: Vec<Duration> = (0..100).map(|_| jittered(Duration::from_secs(100))).collect();
        assert!(
            ages.iter()
                .all(|age| (Duration::from_secs(90)..=Duration::from_secs(110)).contains(age))
        );
        assert!(ages.iter().any(|age| Some(age) != ages.first()));
    }
}
