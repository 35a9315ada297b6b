//! Refresh tokens as they are stored: as digests.

use chrono::{DateTime, TimeDelta, Utc};

use crate::database::{Database, DatabaseError, read, transaction};
use crate::domain::{
    Command, EndSession, EndSessions, NewRefreshToken, Origin, RefreshToken, SessionEndReason, UserId,
};

/// Reads and revokes refresh tokens. They are issued with their sessions. Cheap to clone.
#[derive(Clone)]
pub struct RefreshTokenRepository {
    database: Database,
}

impl RefreshTokenRepository {
    /// How many days a token is kept after it has expired, unless somebody says otherwise.
    pub const KEPT_DAYS: i64 = 7;

    /// Makes a repository over a database.
    #[must_use]
    pub const fn new(database: Database) -> Self {
        Self { database }
    }

    /// Stores a token, and its session.
    pub async fn create(&self, token: NewRefreshToken) -> Result<(), DatabaseError> {
        transaction!(self.database, sessions::begin, token)
    }

    /// Returns the token with a digest, whatever has become of it.
    pub async fn get_by_token_hash(
        &self,
        token_hash: [u8; 32],
    ) -> Result<Option<RefreshToken>, DatabaseError> {
        read!(self.database, refresh_tokens::get_by_token_hash, token_hash)
    }

    /// Returns the token with a digest if it is valid: neither used, nor revoked, nor expired.
    pub async fn get_valid_by_token_hash(
        &self,
        token_hash: [u8; 32],
        now: DateTime<Utc>,
    ) -> Result<Option<RefreshToken>, DatabaseError> {
        let token = self.get_by_token_hash(token_hash).await?;
        Ok(token.filter(|token| token.is_valid(now)))
    }

    /// Revokes a token, and ends its session with it. Tells whether it was valid until then.
    pub async fn revoke(
        &self,
        token_hash: [u8; 32],
        now: DateTime<Utc>,
        origin: Origin,
    ) -> Result<bool, DatabaseError> {
        let Some(token) = self.get_by_token_hash(token_hash).await? else {
            return Ok(false);
        };
        let value = EndSession {
            session_id: token.session_id,
            reason: SessionEndReason::Revoked,
            now,
        };
        let end = Command::new(value, origin);
        let _ended: Option<_> = transaction!(self.database, sessions::end, end)?;
        Ok(token.is_valid(now))
    }

    /// Revokes every token of a user, and ends the sessions with them. Returns how many were valid until then.
    pub async fn revoke_all_for_user(
        &self,
        user_id: UserId,
        now: DateTime<Utc>,
        origin: Origin,
    ) -> Result<usize, DatabaseError> {
        let value = EndSessions {
            user_id,
            reason: SessionEndReason::Revoked,
            except: None,
            now,
        };
        let end = Command::new(value, origin);
        transaction!(self.database, sessions::end_all_of_user, end)
    }

    /// Deletes tokens that expired so many days ago, in batches, and returns how many.
    pub async fn delete_expired(
        &self,
        older_than_days: i64,
        now: DateTime<Utc>,
    ) -> Result<usize, DatabaseError> {
        let older_than = TimeDelta::days(older_than_days);
        purge!(self.database, refresh_tokens::delete_expired, |batch| (
            now, older_than, batch
        ))
    }
}
