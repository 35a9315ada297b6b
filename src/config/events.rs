//! The audit trail: `IDENTITY_EVENT_RETENTION`.

use std::time::Duration;

use super::variable::{Reader, Variable, to_span};

// A year, and time to look at it.
const EVENT_RETENTION: Variable = Variable::new(
    "IDENTITY_EVENT_RETENTION",
    "400d",
    "How long it is on record what happened to users and who did it, in whole days",
);

pub(super) const VARIABLES: &[Variable] = &[EVENT_RETENTION];

/// The audit trail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventSettings {
    /// How many days events are kept.
    pub retention_days: i64,
}

impl EventSettings {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        let retention = reader.duration(&EVENT_RETENTION, DAY..=3653 * DAY)?;
        Some(Self {
            retention_days: to_span(retention).num_days(),
        })
    }
}
