//! What happened to users.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::database::{
    Database, DatabaseError, DatabaseKind, EventCommits, read, read_primary, transaction,
};
use crate::domain::{EventMark, EventWindow, ListUserEvents, NumberedEvent, ReadWindow, UserEvent};

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

    /// Returns the window of the events that come after those of the transactions before `from`.
    pub async fn window_after(&self, from: i64) -> Result<EventWindow, DatabaseError> {
        read_primary!(self.database, user_events::window_after, from)
    }

    /// Returns where the events end, for whoever begins there.
    pub async fn end(&self) -> Result<EventWindow, DatabaseError> {
        read_primary!(self.database, user_events::end, ())
    }

    /// Returns the next events of a window.
    pub async fn read_window(&self, read: ReadWindow) -> Result<Vec<NumberedEvent>, DatabaseError> {
        read_primary!(self.database, user_events::read_window, read)
    }

    /// Returns the newest event.
    pub async fn newest(&self) -> Result<Option<EventMark>, DatabaseError> {
        read_primary!(self.database, user_events::newest, ())
    }

    /// Tells whether an event is there.
    pub async fn is_there(&self, id: Uuid) -> Result<bool, DatabaseError> {
        read_primary!(self.database, user_events::is_there, id)
    }

    /// Sees to it that events which were restored from a backup of another cluster can be followed. Returns how many that
    /// took.
    pub async fn adopt(&self) -> Result<usize, DatabaseError> {
        // Only the transactions of PostgreSQL are of one cluster. A server that starts does not have to wait for whoever
        // writes to the file.
        if self.kind() == DatabaseKind::Sqlite {
            return Ok(0);
        }
        transaction!(self.database, user_events::adopt, ())
    }

    /// Tells which kind of database the events are in: positions are of one kind.
    #[must_use]
    pub const fn kind(&self) -> DatabaseKind {
        self.database.kind()
    }

    /// Tells when this process has committed events.
    pub(crate) fn commits(&self) -> EventCommits {
        self.database.event_commits()
    }
}
