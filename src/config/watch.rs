//! Watching users: `IDENTITY_WATCH_INTERVAL`, `IDENTITY_WATCH_CHECKPOINT_INTERVAL`.

use std::time::Duration;

use super::variable::{Reader, Variable};

// A question that an index answers, five times a second, and only while somebody watches.
const INTERVAL: Variable = Variable::new(
    "IDENTITY_WATCH_INTERVAL",
    "200ms",
    "How often servers that are watched look for changes made through other servers",
);
const CHECKPOINT_INTERVAL: Variable = Variable::new(
    "IDENTITY_WATCH_CHECKPOINT_INTERVAL",
    "10s",
    "How often a watcher is told that nothing has happened",
);

pub(super) const VARIABLES: &[Variable] = &[INTERVAL, CHECKPOINT_INTERVAL];

/// Watching users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchSettings {
    /// How often to look for changes made through other servers.
    pub interval: Duration,
    /// How often a watcher is told that nothing has happened.
    pub checkpoint_interval: Duration,
}

impl WatchSettings {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let interval = reader.duration(&INTERVAL, Duration::from_millis(10)..=Duration::from_secs(60));
        let checkpoint_interval = reader.duration(
            &CHECKPOINT_INTERVAL,
            Duration::from_millis(10)..=Duration::from_secs(3600),
        );
        Some(Self {
            interval: interval?,
            checkpoint_interval: checkpoint_interval?,
        })
    }
}
