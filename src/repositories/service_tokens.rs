//! Service tokens as they are stored: as digests.

use chrono::{DateTime, Utc};

use crate::database::{Database, DatabaseError, read, transaction};
use crate::domain::{NewServiceToken, ServiceToken, ServiceTokenId};

/// Reads and changes service tokens. Cheap to clone.
#[derive(Clone)]
pub struct ServiceTokenRepository {
    database: Database,
}

impl ServiceTokenRepository {
    /// Makes a repository over a database.
    #[must_use]
    pub const fn new(database: Database) -> Self {
        Self { database }
    }

    /// Returns every token with its digest, the oldest first.
    pub async fn list_with_hashes(&self) -> Result<Vec<([u8; 32], ServiceToken)>, DatabaseError> {
        read!(self.database, service_tokens::list_with_hashes, ())
    }

    /// Stores a token.
    pub async fn create(&self, new: NewServiceToken) -> Result<(), DatabaseError> {
        transaction!(self.database, service_tokens::create, new)
    }

    /// Stores a token unless there is one already, whatever it is. Tells whether it did.
    pub async fn create_first(&self, new: NewServiceToken) -> Result<bool, DatabaseError> {
        transaction!(self.database, service_tokens::create_first, new)
    }

    /// Revokes a token, and returns it as it is afterwards; `None` if there is no such token.
    pub async fn revoke(
        &self,
        id: ServiceTokenId,
        now: DateTime<Utc>,
    ) -> Result<Option<ServiceToken>, DatabaseError> {
        transaction!(self.database, service_tokens::revoke, (id, now))
    }

    /// Records when tokens were last used.
    pub async fn record_uses(
        &self,
        uses: Vec<(ServiceTokenId, DateTime<Utc>)>,
    ) -> Result<(), DatabaseError> {
        transaction!(self.database, service_tokens::record_uses, uses)
    }
}
