//! What the gRPC port counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Why a connection was not served, or not for as long as its client wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedConnection {
    /// There are too many connections, and all are busy.
    ServerFull,
    /// There are too many connections from its address, and all are busy.
    PeerFull,
    /// It gave way to a new one.
    GaveWay,
    /// Its handshake took too long.
    TooSlow,
    /// Its client speaks another protocol.
    NotHttp2,
    /// TLS failed.
    Tls,
}

impl RefusedConnection {
    /// Returns the name that the metric and the log use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ServerFull => "server_full",
            Self::PeerFull => "peer_full",
            Self::GaveWay => "gave_way",
            Self::TooSlow => "too_slow",
            Self::NotHttp2 => "not_http2",
            Self::Tls => "tls",
        }
    }
}

/// Counts connections.
#[derive(Debug, Clone, Default)]
pub struct ListenerMetrics {
    /// Connections that are open.
    pub connections: Gauge,
    /// Answers that were given up because their client did not take them.
    pub unread_answers: Counter,
    refused: Family<ReasonLabels, Counter>,
    reloads: Family<OutcomeLabels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

impl ListenerMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("connections", "Open connections", self.connections.clone());
        registry.register(
            "connections_refused",
            "Connections that were not served, or had to give way, by reason",
            self.refused.clone(),
        );
        registry.register(
            "unread_answers",
            "Answers that were given up because their client did not take them",
            self.unread_answers.clone(),
        );
        registry.register(
            "tls_reloads",
            "How often changed files of TLS were read, by outcome",
            self.reloads.clone(),
        );
    }

    /// Counts a connection that was refused.
    pub(crate) fn count_refused(&self, reason: RefusedConnection) {
        let reason = reason.name();
        self.refused.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// Counts an attempt to take new certificates.
    pub(crate) fn count_reload(&self, is_good: bool) {
        let outcome = if is_good { "success" } else { "failure" };
        self.reloads.get_or_create(&OutcomeLabels { outcome }).inc();
    }
}
