//! Takes connections, whatever the operating system says.

use std::convert::Infallible;
use std::io::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

use super::GrpcService;
use super::connection::Connections;

/// Opens a port.
pub(crate) fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    /// Connections that wait to be taken: as many as Linux allows unless it is told otherwise (`somaxconn`).
    const BACKLOG: u32 = 4096;
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // A server that is restarted takes its port again, though connections of the one before may not be gone yet.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Takes connections until it is dropped. All connections end with it.
pub(super) async fn accept<S>(
    listener: TcpListener,
    connections: Arc<Connections>,
    service: S,
    tasks: &mut JoinSet<()>,
) -> Infallible
where
    S: GrpcService,
{
    let mut pauses = Pauses::default();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            // Finished connections are forgotten as they end.
            Some(_) = tasks.join_next() => continue,
        };
        match accepted {
            Ok((stream, address)) => {
                pauses = Pauses::default();
                take(stream, address, &connections, service.clone(), tasks);
            }
            Err(error) => {
                if let Some(pause) = pauses.after(&error) {
                    tracing::warn!(%error, "connections cannot be accepted for a moment");
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }
}

fn take<S>(
    stream: TcpStream,
    address: SocketAddr,
    connections: &Arc<Connections>,
    service: S,
    tasks: &mut JoinSet<()>,
) where
    S: GrpcService,
{
    match connections.admission.admit(address) {
        Ok(place) => {
            tasks.spawn(Arc::clone(connections).serve(stream, address, place, service));
        }
        Err(reason) => {
            let detail = "there are too many connections, and all of them are busy";
            connections.notices.refused(reason, address, detail);
        }
    }
}

/// How long to wait after accepting has failed.
#[derive(Debug, Default)]
pub(crate) struct Pauses {
    last: Option<Duration>,
}

impl Pauses {
    /// Returns how long to wait, if at all: an error about one connection says nothing about the next one, anything
    /// else (most likely there are no descriptors left) would only come again at once.
    pub(crate) fn after(&mut self, error: &Error) -> Option<Duration> {
        const FIRST: Duration = Duration::from_millis(10);
        const LONGEST: Duration = Duration::from_secs(1);
        if is_about_one_connection(error) {
            return None;
        }
        let pause = self.last.map_or(FIRST, |last| (last * 2).min(LONGEST));
        self.last = Some(pause);
        Some(pause)
    }
}

/// Tells whether the connection that was to be accepted is gone, which Linux reports as whatever happened to it.
fn is_about_one_connection(error: &Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(
            Errno::CONNABORTED
                | Errno::CONNRESET
                | Errno::INTR
                | Errno::AGAIN
                | Errno::PERM
                | Errno::PROTO
                | Errno::NOPROTOOPT
                | Errno::NETDOWN
                | Errno::NETUNREACH
                | Errno::HOSTDOWN
                | Errno::HOSTUNREACH
                | Errno::NONET
                | Errno::OPNOTSUPP
                | Errno::TIMEDOUT
        )
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::io::Errno;

    use super::Pauses;

    #[test]
    fn x16_a_storm_of_lost_connections_costs_no_time() {
        let mut pauses = Pauses::default();
        for error in [Errno::CONNABORTED, Errno::CONNRESET, Errno::PROTO] {
            for _ in 0..1000 {
                assert_eq!(pauses.after(&error.into()), None, "{error}");
            }
        }
    }

    #[test]
    fn without_descriptors_it_waits_longer_and_longer_but_not_for_ever() {
        for error in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS] {
            let mut pauses = Pauses::default();
            let first = pauses.after(&error.into());
            assert!(first.is_some_and(|pause| !pause.is_zero()), "{error}");
            let last = (0..100).filter_map(|_| pauses.after(&error.into())).last();
            assert_eq!(last, Some(Duration::from_secs(1)), "{error}");
        }
    }
}
