//! Attempts to sign in, as they are stored.

use chrono::{DateTime, TimeDelta, Utc};

use crate::database::{Database, DatabaseError, read, transaction};
use crate::domain::{ListLoginAttempts, LoginAttempt, NewLoginAttempt, UserId};

/// Records and reads attempts to sign in. Cheap to clone.
#[derive(Clone)]
pub struct LoginAttemptRepository {
    database: Database,
}

impl LoginAttemptRepository {
    /// How many minutes back failures are counted, unless somebody says otherwise.
    pub const RECENT_MINUTES: i64 = 15;
    /// How many days an attempt is kept, unless somebody says otherwise.
    pub const KEPT_DAYS: i64 = 90;

    /// Makes a repository over a database.
    #[must_use]
    pub const fn new(database: Database) -> Self {
        Self { database }
    }

    /// Records an attempt.
    pub async fn create(&self, attempt: NewLoginAttempt) -> Result<(), DatabaseError> {
        transaction!(self.database, login_attempts::create, attempt)
    }

    /// Counts the failures of a user in the last minutes.
    pub async fn count_recent_failures(
        &self,
        user_id: UserId,
        minutes: i64,
        now: DateTime<Utc>,
    ) -> Result<i64, DatabaseError> {
        let from = now - TimeDelta::minutes(minutes);
        read!(self.database, login_attempts::count_failures, (user_id, from))
    }

    /// Returns a page of attempts, the newest first.
    pub async fn list(&self, list: ListLoginAttempts) -> Result<Vec<LoginAttempt>, DatabaseError> {
        read!(self.database, login_attempts::list, list)
    }

    /// Deletes attempts that are so many days old, in batches, and returns how many.
    pub async fn delete_old(
        &self,
        older_than_days: i64,
        now: DateTime<Utc>,
    ) -> Result<usize, DatabaseError> {
        let older_than = TimeDelta::days(older_than_days);
        purge!(self.database, login_attempts::delete_old, |batch| (
            now, older_than, batch
        ))
    }
}
