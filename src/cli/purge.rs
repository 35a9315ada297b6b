//! `identity purge`: removes what has expired.

use super::{CommandError, open_database, output};
use crate::clock::{Clock, SystemClock};
use crate::config::Settings;
use crate::upkeep::Purge;

pub(super) async fn run(settings: Settings) -> Result<(), CommandError> {
    let purge = Purge {
        database: open_database(&settings)?,
        attempt_retention_days: settings.lockout.retention_days,
        event_retention_days: settings.events.retention_days,
    };
    let mut has_failed = false;
    for (what, outcome) in purge.run(SystemClock.now()).await {
        match outcome {
            Ok(purged) => output::say(&format!("{purged} {what} removed")),
            Err(error) => {
                has_failed = true;
                output::complain(&format!("error: DATABASE_URL: {what}: {error}"));
            }
        }
    }
    if has_failed {
        Err(CommandError::Reported)
    } else {
        Ok(())
    }
}
