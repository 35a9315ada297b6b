//! The gRPC port: who may connect, over what, and how it ends.

mod drain;
mod hostile;
mod http2_floods;
mod limits;
mod memory;
mod mtls;
mod rolling;
mod slow_readers;
mod tls;

use tokio::io::{AsyncRead, AsyncWrite};
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;

use crate::support::http2::{DATA, END_STREAM, HEADERS, Http2};
use crate::support::{Behaviour, Clients};

pub fn tests() -> Vec<Behaviour> {
    [
        drain::tests(),
        hostile::tests(),
        http2_floods::tests(),
        limits::tests(),
        memory::tests(),
        mtls::tests(),
        rolling::tests(),
        slow_readers::tests(),
        tls::tests(),
    ]
    .concat()
}

/// The call that costs the least.
const CHECK: &str = "/grpc.health.v1.Health/Check";

/// A call that stays open.
const WATCH: &str = "/grpc.health.v1.Health/Watch";

/// Makes a call and waits for its end.
async fn check<S: AsyncRead + AsyncWrite + Unpin>(client: &mut Http2<S>) {
    let stream = client.call(CHECK, &HealthCheckRequest::default()).await.unwrap();
    let end = client.end_of(stream).await;
    assert_eq!(
        (end.kind, end.flags & END_STREAM),
        (HEADERS, END_STREAM),
        "{end:?}"
    );
}

/// Opens a stream that stays open, and waits for its first message.
async fn watch(client: &mut Http2) -> u32 {
    let stream = client.call(WATCH, &HealthCheckRequest::default()).await.unwrap();
    client
        .wait_for(|frame| frame.stream == stream && frame.kind == DATA)
        .await;
    stream
}

/// Tells whether a call may be made again whatever it does: the server says so, or it has never been sent, or the server
/// has said by a GOAWAY that it left it alone (RFC 9113 §6.8). tonic calls the last two cancelled and an internal error.
fn may_be_repeated(status: &Status) -> bool {
    let mut source = std::error::Error::source(status);
    let mut was_done = true;
    while let Some(error) = source {
        let was_held_back = error
            .downcast_ref()
            .is_some_and(|cause: &hyper::Error| cause.is_canceled());
        let was_left_alone = error.downcast_ref().is_some_and(|cause: &h2::Error| {
            cause.is_go_away() && cause.is_remote() && cause.reason() == Some(h2::Reason::NO_ERROR)
        });
        was_done &= !was_held_back && !was_left_alone;
        source = error.source();
    }
    status.code() == Code::Unavailable || !was_done
}

/// Returns how many connections were refused for a reason.
async fn refused(clients: &Clients, reason: &str) -> u64 {
    let name = format!("identity_connections_refused_total{{reason=\"{reason}\"}}");
    clients.metric(&name).await.round() as u64
}

/// Returns how many connections are open.
async fn open(clients: &Clients) -> u64 {
    clients.metric("identity_connections").await.round() as u64
}

/// Returns the resident memory of a process, in bytes.
fn resident_bytes(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kilobytes * 1024
}
