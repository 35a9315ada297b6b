//! The records of requests that were carried out.

use chrono::{DateTime, Utc};

use crate::database::{Database, DatabaseError, read};
use crate::domain::{RequestRecord, UserId};

/// Reads and purges the records of requests. They are written by the changes themselves. Cheap to clone.
#[derive(Clone)]
pub struct RequestIdRepository {
    database: Database,
}

impl RequestIdRepository {
    /// Makes a repository over a database.
    #[must_use]
    pub const fn new(database: Database) -> Self {
        Self { database }
    }

    /// Returns the user that an earlier request with the same id was about, so that the work which comes
    /// before the transaction can be spared. Fails if that was another request.
    pub async fn find(&self, record: RequestRecord) -> Result<Option<UserId>, DatabaseError> {
        read!(self.database, request_ids::find, record)
    }

    /// Deletes the records that have expired, in batches, and returns how many.
    pub async fn purge(&self, now: DateTime<Utc>) -> Result<usize, DatabaseError> {
        purge!(self.database, request_ids::purge, |batch| (now, batch))
    }
}
