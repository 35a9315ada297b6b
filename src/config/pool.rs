//! The connection pools: `IDENTITY_DATABASE_POOL_*`, `IDENTITY_DATABASE_CONNECT_TIMEOUT`.

use std::time::Duration;

use super::variable::{Reader, Variable};

const MIN_IDLE: Variable = Variable::new(
    "IDENTITY_DATABASE_POOL_MIN_IDLE",
    "5",
    "The connections that are kept idle, ready for calls (SQLite: those that read)",
);
const MAX_SIZE: Variable = Variable::new(
    "IDENTITY_DATABASE_POOL_MAX_SIZE",
    "15",
    "The most connections, idle and in use (SQLite: those that read; one writes)",
);
const MAX_LIFETIME: Variable = Variable::new(
    "IDENTITY_DATABASE_POOL_MAX_LIFETIME",
    "1h",
    "The age at which a connection is replaced",
);
const IDLE_TIMEOUT: Variable = Variable::new(
    "IDENTITY_DATABASE_POOL_IDLE_TIMEOUT",
    "10m",
    "How long a connection beyond the steady ones may be idle",
);
const CHECK_AFTER_IDLE: Variable = Variable::new(
    "IDENTITY_DATABASE_POOL_CHECK_AFTER_IDLE",
    "1s",
    "How long a connection may have been idle before it is checked when it is used; 0s checks on every use",
);
const ACQUIRE_TIMEOUT: Variable = Variable::new(
    "IDENTITY_DATABASE_POOL_ACQUIRE_TIMEOUT",
    "2s",
    "How long a call waits for a connection",
);
const CONNECT_TIMEOUT: Variable = Variable::new(
    "IDENTITY_DATABASE_CONNECT_TIMEOUT",
    "10s",
    "How long connecting may take, also at the start",
);

pub(super) const VARIABLES: &[Variable] = &[
    MIN_IDLE,
    MAX_SIZE,
    MAX_LIFETIME,
    IDLE_TIMEOUT,
    CHECK_AFTER_IDLE,
    ACQUIRE_TIMEOUT,
    CONNECT_TIMEOUT,
];

/// How a connection pool behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolSettings {
    /// The connections kept open when there is nothing to do.
    pub min_idle: u32,
    /// The most connections.
    pub max_size: u32,
    /// The age at which a connection is replaced.
    pub max_lifetime: Duration,
    /// How long a connection beyond `min_idle` may be idle.
    pub idle_timeout: Duration,
    /// How long a connection may have been idle before it is checked when it is used.
    pub check_after_idle: Duration,
    /// How long a call waits for a connection.
    pub acquire_timeout: Duration,
    /// How long connecting may take.
    pub connect_timeout: Duration,
}

impl PoolSettings {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        const MILLISECOND: Duration = Duration::from_millis(1);
        const SECOND: Duration = Duration::from_secs(1);
        const MINUTE: Duration = Duration::from_secs(60);
        const DAY: Duration = Duration::from_secs(86_400);
        let max_size = reader.number(&MAX_SIZE, 1..=1000);
        let min_idle = reader.number(&MIN_IDLE, 0..=1000);
        if let (Some(min_idle), Some(max_size)) = (min_idle, max_size)
            && min_idle > max_size
        {
            reader.note(
                &MIN_IDLE,
                &format!("must be at most {} ({max_size})", MAX_SIZE.name),
            );
        }
        let max_lifetime = reader.duration(&MAX_LIFETIME, SECOND..=DAY);
        let idle_timeout = reader.duration(&IDLE_TIMEOUT, SECOND..=DAY);
        let check_after_idle = reader.duration(&CHECK_AFTER_IDLE, Duration::ZERO..=DAY);
        let acquire_timeout = reader.duration(&ACQUIRE_TIMEOUT, MILLISECOND..=MINUTE);
        let connect_timeout = reader.duration(&CONNECT_TIMEOUT, MILLISECOND..=MINUTE);
        Some(Self {
            min_idle: min_idle?,
            max_size: max_size?,
            max_lifetime: max_lifetime?,
            idle_timeout: idle_timeout?,
            check_after_idle: check_after_idle?,
            acquire_timeout: acquire_timeout?,
            connect_timeout: connect_timeout?,
        })
    }

    /// How long the check of an idle connection may take: so short that a call which meets a dead
    /// connection still has time for another one.
    pub(crate) fn check_timeout(&self) -> Duration {
        self.acquire_timeout / 4
    }
}
