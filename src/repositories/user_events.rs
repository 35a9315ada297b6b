//! What happened to users.

use chrono::{DateTime, TimeDelta, Utc};

use crate::database::{Database, DatabaseError, read};
use crate::domain::{ListUserEvents, UserEvent};

/// Reads and purges events. They are written by the changes themselves, in their transactions. Cheap to clone.
#[derive(Clone)]
pub struct UserEventRepository {
    database: Database,
}

impl UserEventRepository {
    /// Makes a repository over a database.
    #[must_use]
    pub const fn new(database: Database) -> Self {
        Self { database }
    }

    /// Returns a page of events, the newest first.
    pub async fn list(&self, list: ListUserEvents) -> Result<Vec<UserEvent>, DatabaseError> {
        read!(self.database, user_events::list, list)
    }

    /// Deletes events that are so many days old, in batches, and returns how many.
    pub async fn delete_old(
        &self,
        older_than_days: i64,
        now: DateTime<Utc>,
    ) -> Result<usize, DatabaseError> {
        let older_than = TimeDelta::days(older_than_days);
        purge!(self.database, user_events::delete_old, |batch| (
            now, older_than, batch
        ))
    }
}
