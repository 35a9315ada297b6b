//! Limits on connections: `IDENTITY_MAX_CONNECTIONS`, `IDENTITY_MAX_CONNECTIONS_PER_PEER`,
//! `IDENTITY_MAX_SILENT_CONNECTIONS`, `IDENTITY_HANDSHAKE_TIMEOUT`, `IDENTITY_SEND_TIMEOUT`,
//! `IDENTITY_KEEPALIVE_INTERVAL`, `IDENTITY_KEEPALIVE_TIMEOUT`, `IDENTITY_MAX_CONNECTION_AGE`,
//! `IDENTITY_MAX_HEADER_BYTES`.

use std::time::Duration;

use super::variable::{Reader, Variable};

const MAX_CONNECTIONS: Variable = Variable::new(
    "IDENTITY_MAX_CONNECTIONS",
    "30000",
    "The most connections at the same time; fewer if there are not that many descriptors (ulimit -n)",
);
const MAX_CONNECTIONS_PER_PEER: Variable = Variable::new(
    "IDENTITY_MAX_CONNECTIONS_PER_PEER",
    "15000",
    "The most connections at the same time from one address (IPv6: from one network of 64 bits)",
);
const MAX_SILENT_CONNECTIONS: Variable = Variable::new(
    "IDENTITY_MAX_SILENT_CONNECTIONS",
    "1000",
    "The most connections at the same time that have begun HTTP/2 and never made a call",
);
const HANDSHAKE_TIMEOUT: Variable = Variable::new(
    "IDENTITY_HANDSHAKE_TIMEOUT",
    "10s",
    "How long a client may take for the handshake of TLS and the preface of HTTP/2 together",
);
const SEND_TIMEOUT: Variable = Variable::new(
    "IDENTITY_SEND_TIMEOUT",
    "20s",
    "How long a client may leave an answer unread before it is cut off",
);
const KEEPALIVE_INTERVAL: Variable = Variable::new(
    "IDENTITY_KEEPALIVE_INTERVAL",
    "60s",
    "How often a silent client is asked whether it is still there",
);
const KEEPALIVE_TIMEOUT: Variable = Variable::new(
    "IDENTITY_KEEPALIVE_TIMEOUT",
    "20s",
    "How long a client may take to say that it is still there",
);
const MAX_CONNECTION_AGE: Variable = Variable::new(
    "IDENTITY_MAX_CONNECTION_AGE",
    "0s",
    "When a client is asked to connect anew, so that load spreads over new replicas (0s: never)",
);
const MAX_HEADER_BYTES: Variable = Variable::new(
    "IDENTITY_MAX_HEADER_BYTES",
    "16384",
    "The most bytes of metadata of a call",
);

pub(super) const VARIABLES: &[Variable] = &[
    MAX_CONNECTIONS,
    MAX_CONNECTIONS_PER_PEER,
    MAX_SILENT_CONNECTIONS,
    HANDSHAKE_TIMEOUT,
    SEND_TIMEOUT,
    KEEPALIVE_INTERVAL,
    KEEPALIVE_TIMEOUT,
    MAX_CONNECTION_AGE,
    MAX_HEADER_BYTES,
];

/// Limits on connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionSettings {
    /// The most connections at the same time.
    pub max_connections: usize,
    /// The most connections at the same time from one address.
    pub max_connections_per_peer: usize,
    /// The most connections at the same time that have begun HTTP/2 and never made a call.
    pub max_silent_connections: usize,
    /// How long the handshake of TLS and the preface of HTTP/2 may take together.
    pub handshake_timeout: Duration,
    /// How long an answer may stay unread.
    pub send_timeout: Duration,
    /// How often a silent client is asked whether it is still there.
    pub keepalive_interval: Duration,
    /// How long it may take to say so.
    pub keepalive_timeout: Duration,
    /// When a client is asked to connect anew, if ever.
    pub max_age: Option<Duration>,
    /// The most bytes of metadata of a call.
    pub max_header_bytes: u32,
}

impl ConnectionSettings {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        /// More descriptors than any system gives to one process without being asked.
        const MOST_CONNECTIONS: usize = 1_000_000;
        const SHORTEST: Duration = Duration::from_millis(10);
        const LONGEST: Duration = Duration::from_secs(3600);
        /// Long enough for `never` to be what is meant beyond it.
        const OLDEST: Duration = Duration::from_secs(30 * 24 * 3600);
        let max_connections = reader.number(&MAX_CONNECTIONS, 1..=MOST_CONNECTIONS);
        let max_connections_per_peer = reader.number(&MAX_CONNECTIONS_PER_PEER, 1..=MOST_CONNECTIONS);
        let max_silent_connections = reader.number(&MAX_SILENT_CONNECTIONS, 1..=MOST_CONNECTIONS);
        let handshake_timeout = reader.duration(&HANDSHAKE_TIMEOUT, SHORTEST..=LONGEST);
        let send_timeout = reader.duration(&SEND_TIMEOUT, SHORTEST..=LONGEST);
        let keepalive_interval = reader.duration(&KEEPALIVE_INTERVAL, SHORTEST..=LONGEST);
        let keepalive_timeout = reader.duration(&KEEPALIVE_TIMEOUT, SHORTEST..=LONGEST);
        let max_age = reader.duration(&MAX_CONNECTION_AGE, Duration::ZERO..=OLDEST);
        let max_header_bytes = reader.number(&MAX_HEADER_BYTES, 1024..=1024 * 1024);
        Some(Self {
            max_connections: max_connections?,
            max_connections_per_peer: max_connections_per_peer?,
            max_silent_connections: max_silent_connections?,
            handshake_timeout: handshake_timeout?,
            send_timeout: send_timeout?,
            keepalive_interval: keepalive_interval?,
            keepalive_timeout: keepalive_timeout?,
            max_age: max_age.map(|age| (!age.is_zero()).then_some(age))?,
            max_header_bytes: max_header_bytes?,
        })
    }
}
