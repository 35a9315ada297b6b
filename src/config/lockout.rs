//! Failed sign-ins: `IDENTITY_LOCKOUT_*`, `IDENTITY_LOGIN_ATTEMPT_RETENTION`.

use std::time::Duration;

use super::variable::{Reader, Variable, to_span};
use crate::domain::LockoutPolicy;

const FAILURES: Variable = Variable::new(
    "IDENTITY_LOCKOUT_FAILURES",
    "5",
    "The failed sign-ins that one network may have for one login name within the window",
);
const WINDOW: Variable = Variable::new(
    "IDENTITY_LOCKOUT_WINDOW",
    "15m",
    "How long failed sign-ins of a network count, and how long it has to wait then",
);
const FREE_FAILURES: Variable = Variable::new(
    "IDENTITY_LOCKOUT_FREE_FAILURES",
    "10",
    "The failed sign-ins from all unknown networks before they have to wait between attempts",
);
const MAX_DELAY: Variable = Variable::new(
    "IDENTITY_LOCKOUT_MAX_DELAY",
    "5m",
    "The longest that unknown networks have to wait between two attempts",
);
const ATTEMPT_RETENTION: Variable = Variable::new(
    "IDENTITY_LOGIN_ATTEMPT_RETENTION",
    "90d",
    "How long attempts to sign in are listed, in whole days",
);

pub(super) const VARIABLES: &[Variable] =
    &[FAILURES, WINDOW, FREE_FAILURES, MAX_DELAY, ATTEMPT_RETENTION];

/// Failed sign-ins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockoutSettings {
    /// How patient the service is.
    pub policy: LockoutPolicy,
    /// How many days attempts are kept.
    pub retention_days: i64,
}

impl LockoutSettings {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        const SECOND: Duration = Duration::from_secs(1);
        const DAY: Duration = Duration::from_secs(24 * 3600);
        let max_failures = reader.number(&FAILURES, 1..=1000);
        let window = reader.duration(&WINDOW, SECOND..=DAY);
        let free_failures = reader.number(&FREE_FAILURES, 1..=100_000);
        let max_delay = reader.duration(&MAX_DELAY, SECOND..=DAY);
        let retention = reader.duration(&ATTEMPT_RETENTION, DAY..=3653 * DAY);
        Some(Self {
            policy: LockoutPolicy {
                max_failures: max_failures?,
                window: to_span(window?),
                free_failures: free_failures?,
                max_delay: to_span(max_delay?),
            },
            retention_days: to_span(retention?).num_days(),
        })
    }
}
