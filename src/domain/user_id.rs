//! Ids of users.

use std::fmt;

use chrono::{DateTime, Utc};
use uuid::{NoContext, Timestamp, Uuid, Version};

use super::Invalid;

/// The id of a user: a UUID (RFC 9562), version 7 unless its creator chose it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(Uuid);

impl UserId {
    /// Makes a new id. Its 74 random bits come from the operating system.
    #[must_use]
    pub fn generate(now: DateTime<Utc>) -> Self {
        let seconds = u64::try_from(now.timestamp()).unwrap_or_default();
        let timestamp = Timestamp::from_unix(NoContext, seconds, now.timestamp_subsec_nanos());
        Self(Uuid::new_v7(timestamp))
    }

    /// Accepts the hyphenated form in either case. Braces, `urn:uuid:` and bare digits are refused.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        parse_uuid(text).map(Self)
    }

    /// Makes an id of the form of a random one (version 4) out of bytes that nobody can guess, at least 16 of them.
    pub(crate) fn from_tag(tag: &[u8]) -> Self {
        let mut bytes = uuid::Bytes::default();
        for (byte, random) in bytes.iter_mut().zip(tag) {
            *byte = *random;
        }
        Self(uuid::Builder::from_random_bytes(bytes).into_uuid())
    }

    /// Accepts an id that a creator chose: version 4 or 7, because the other versions can be guessed.
    pub fn parse_chosen(text: &str) -> Result<Self, Invalid> {
        let uuid = parse_uuid(text)?;
        match uuid.get_version() {
            Some(Version::Random | Version::SortRand) => Ok(Self(uuid)),
            _ => Err(Invalid::format("must be a UUID of version 4 or 7")),
        }
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

/// Parses the hyphenated form of a UUID, in either case.
pub(crate) fn parse_uuid(text: &str) -> Result<Uuid, Invalid> {
    /// 32 digits and 4 hyphens.
    const HYPHENATED_BYTES: usize = 36;
    if text.len() == HYPHENATED_BYTES
        && let Ok(uuid) = Uuid::try_parse(text)
    {
        return Ok(uuid);
    }
    Err(Invalid::format("must be a UUID with hyphens"))
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
