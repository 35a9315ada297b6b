//! Log lines about connections, which strangers cause and could fill the disk with.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::telemetry::{ListenerMetrics, RefusedConnection};

/// The time between two lines about the same thing.
const PAUSE: Duration = Duration::from_secs(10);

/// Counts every refused connection, and logs the first of a kind and then one every few seconds.
#[derive(Debug)]
pub(super) struct Notices {
    metrics: ListenerMetrics,
    lines: Mutex<Vec<Line>>,
}

#[derive(Debug)]
struct Line {
    reason: RefusedConnection,
    logged: Instant,
    held_back: u64,
}

impl Notices {
    pub(super) fn new(metrics: ListenerMetrics) -> Self {
        Self {
            metrics,
            lines: Mutex::default(),
        }
    }

    /// Notes that a connection was not served. `detail` must be a text of our own or of a library, nothing that the
    /// client has sent.
    pub(super) fn refused(&self, reason: RefusedConnection, address: SocketAddr, detail: &str) {
        self.metrics.count_refused(reason);
        if let Some(held_back) = self.is_due(reason, Instant::now()) {
            tracing::warn!(
                reason = reason.name(),
                peer = %address.ip(),
                detail,
                held_back,
                "a connection was refused"
            );
        }
    }

    /// Returns how many lines were held back since the last one, if another one may be logged.
    fn is_due(&self, reason: RefusedConnection, now: Instant) -> Option<u64> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(line) = lines.iter_mut().find(|line| line.reason == reason) else {
            lines.push(Line {
                reason,
                logged: now,
                held_back: 0,
            });
            return Some(0);
        };
        if now.duration_since(line.logged) < PAUSE {
            line.held_back += 1;
            return None;
        }
        line.logged = now;
        Some(std::mem::take(&mut line.held_back))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{Notices, PAUSE};
    use crate::telemetry::{ListenerMetrics, RefusedConnection};

    #[test]
    fn a_flood_is_a_line_now_and_then() {
        let notices = Notices::new(ListenerMetrics::default());
        let now = Instant::now();
        assert_eq!(notices.is_due(RefusedConnection::NotHttp2, now), Some(0));
        assert_eq!(notices.is_due(RefusedConnection::NotHttp2, now), None);
        assert_eq!(notices.is_due(RefusedConnection::TooSlow, now), Some(0));
        assert_eq!(notices.is_due(RefusedConnection::NotHttp2, now), None);
        assert_eq!(notices.is_due(RefusedConnection::NotHttp2, now + PAUSE), Some(2));
    }
}
