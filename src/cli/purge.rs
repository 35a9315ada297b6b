//! `identity purge`: removes what has expired.

use super::{CommandError, open_database, output};
use crate::clock::{Clock, SystemClock};
use crate::config::Settings;
use crate::repositories::RequestIdRepository;

pub(super) async fn run(settings: Settings) -> Result<(), CommandError> {
    let database = open_database(&settings)?;
    let purged = RequestIdRepository::new(database)
        .purge(SystemClock.now())
        .await
        .map_err(|error| CommandError::Failed(format!("DATABASE_URL: {error}")))?;
    output::say(&format!("{purged} request ids removed"));
    Ok(())
}
