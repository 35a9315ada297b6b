//! Health checks: `IDENTITY_HEALTH_INTERVAL`, `IDENTITY_HEALTH_FAILURES`.

use std::time::Duration;

use super::variable::{Reader, Variable};

const INTERVAL: Variable = Variable::new(
    "IDENTITY_HEALTH_INTERVAL",
    "2s",
    "How soon the health follows the database; several probes fit into it",
);
const FAILURES: Variable = Variable::new(
    "IDENTITY_HEALTH_FAILURES",
    "2",
    "How many probes in a row must fail before the health goes down",
);

pub(super) const VARIABLES: &[Variable] = &[INTERVAL, FAILURES];

/// How the health follows the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthSettings {
    /// The longest time from a change of the database to the change of the health.
    pub interval: Duration,
    /// How many probes in a row must fail before the health goes down.
    pub failures: u32,
}

impl HealthSettings {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let interval = reader.duration(&INTERVAL, Duration::from_millis(30)..=Duration::from_secs(3600));
        let failures = reader.number(&FAILURES, 1..=100);
        Some(Self {
            interval: interval?,
            failures: failures?,
        })
    }

    /// The time from one probe to the next, which is also the longest a probe may take.
    ///
    /// An outage may begin just after a good probe; then `failures` probes follow, each a period apart, and
    /// the last may take a period to fail. All of that fits into the interval.
    #[must_use]
    pub fn probe_period(&self) -> Duration {
        self.interval / self.failures.saturating_add(1)
    }
}
