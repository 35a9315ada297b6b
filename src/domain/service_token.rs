//! Tokens with which services call.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::text::parse_plain_name;
use super::user_id::parse_uuid;
use super::{Invalid, Scopes, new_uuid};

/// The id of a service token: a UUID of version 7.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ServiceTokenId(Uuid);

impl ServiceTokenId {
    /// Makes a new id.
    #[must_use]
    pub fn generate(now: DateTime<Utc>) -> Self {
        Self(new_uuid(now))
    }

    /// Accepts the hyphenated form in either case.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        parse_uuid(text).map(Self)
    }

    /// Returns the UUID.
    #[must_use]
    pub const fn uuid(self) -> Uuid {
        self.0
    }

    /// Takes an id that was read from the database.
    pub(crate) const fn from_stored(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl fmt::Display for ServiceTokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// The name of a service, under which its changes are on record.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServiceName(String);

impl ServiceName {
    /// The most characters of a name.
    pub const MAX_CHARACTERS: usize = 64;

    /// Accepts 1 to 64 ASCII letters, digits, dots, hyphens and underscores.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        parse_plain_name(text, Self::MAX_CHARACTERS).map(Self)
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes a name that was valid when it was stored.
    pub(crate) const fn from_stored(text: String) -> Self {
        Self(text)
    }
}

/// A token with which a service calls. The token itself is known to the service alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceToken {
    /// Its id.
    pub id: ServiceTokenId,
    /// The service. Several tokens may have the same name, so that one can take the place of another.
    pub name: ServiceName,
    /// What the service may call.
    pub scopes: Scopes,
    /// When the token stops being accepted; `None` if never.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

impl ServiceToken {
    /// How exactly the last use is on record: so that a busy service costs one write a minute.
    pub const USE_PRECISION: TimeDelta = TimeDelta::minutes(1);

    /// Tells whether the token has expired.
    #[must_use]
    pub fn has_expired(&self, now: DateTime<Utc>) -> bool {
        self.expires_at.is_some_and(|expiry| now >= expiry)
    }
}

/// A service token to be stored.
#[derive(Debug, Clone)]
pub struct NewServiceToken {
    /// The token.
    pub token: ServiceToken,
    /// SHA-256 of its text.
    pub token_hash: [u8; 32],
}
