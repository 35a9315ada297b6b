//! One-time tokens as they are stored: as digests.

use chrono::{DateTime, Utc};

use crate::database::{Database, DatabaseError, read, transaction};
use crate::domain::{Command, ConfirmOneTimeToken, NewOneTimeToken, OneTimeTokenPurpose, User};

/// Stores and uses one-time tokens. Cheap to clone.
#[derive(Clone)]
pub struct OneTimeTokenRepository {
    database: Database,
}

impl OneTimeTokenRepository {
    /// Makes a repository over a database.
    #[must_use]
    pub const fn new(database: Database) -> Self {
        Self { database }
    }

    /// Stores a token in place of the user's earlier ones for the same purpose, and returns the user.
    pub async fn create(&self, token: NewOneTimeToken) -> Result<User, DatabaseError> {
        transaction!(self.database, one_time_tokens::create, token)
    }

    /// Returns whom a token is for, or why it cannot be used.
    pub async fn find_user(
        &self,
        purpose: OneTimeTokenPurpose,
        token_hash: [u8; 32],
        now: DateTime<Utc>,
    ) -> Result<User, DatabaseError> {
        read!(
            self.database,
            one_time_tokens::find_user,
            (purpose, token_hash, now)
        )
    }

    /// Uses a token, and changes the user as it allows; once per request id.
    pub async fn confirm(
        &self,
        confirmation: Command<ConfirmOneTimeToken>,
    ) -> Result<User, DatabaseError> {
        transaction!(self.database, one_time_tokens::confirm, confirmation)
    }

    /// Deletes tokens that expired a week ago, in batches, and returns how many.
    pub async fn purge(&self, now: DateTime<Utc>) -> Result<usize, DatabaseError> {
        purge!(self.database, one_time_tokens::purge, |batch| (now, batch))
    }
}
