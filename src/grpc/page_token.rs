//! Page tokens: opaque, authenticated, bound to the list they belong to.
//!
//! A token is the position in the list, encrypted with AES-256-GCM, with the filter and the order as
//! associated data: it tells nothing about users, cannot be made up, and is of no use for another list.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::seal::Seal;
use crate::domain::ListPosition;
use crate::master_key::{KeyPurpose, MasterKey};

/// Makes and reads page tokens.
#[derive(Clone)]
pub struct PageTokens(Arc<Seal>);

impl fmt::Debug for PageTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PageTokens([redacted])")
    }
}

/// The token is not one of ours, not for this list, or too old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InvalidPageToken;

/// How long a token is valid: a list that nobody has read on for a day is read from the start.
const LIFETIME: TimeDelta = TimeDelta::hours(24);

/// When it was issued, and the position: two times and an id.
const PLAIN_BYTES: usize = 8 + 8 + 16;

impl PageTokens {
    /// Derives the key; `None` only if the cipher does not take keys of its own length.
    #[must_use]
    pub fn new(master_key: &MasterKey) -> Option<Self> {
        Some(Self(Arc::new(Seal::new(master_key, KeyPurpose::PageTokens)?)))
    }

    /// Makes the token for the page after a position. `list` tells lists apart.
    pub(super) fn issue(
        &self,
        position: ListPosition,
        list: &[u8],
        now: DateTime<Utc>,
    ) -> Option<String> {
        let mut plain = Vec::with_capacity(PLAIN_BYTES);
        plain.extend(now.timestamp_micros().to_be_bytes());
        plain.extend(position.created_at.timestamp_micros().to_be_bytes());
        plain.extend(position.id.as_bytes());
        self.0.seal(&plain, list)
    }

    /// Reads a token.
    pub(super) fn read(
        &self,
        token: &str,
        list: &[u8],
        now: DateTime<Utc>,
    ) -> Result<ListPosition, InvalidPageToken> {
        let plain = self.0.open(token, list).ok_or(InvalidPageToken)?;
        let (issued_at, rest) = take_time(&plain)?;
        let (created_at, rest) = take_time(rest)?;
        let id = Uuid::from_slice(rest).map_err(|_| InvalidPageToken)?;
        if now - issued_at > LIFETIME {
            return Err(InvalidPageToken);
        }
        Ok(ListPosition { created_at, id })
    }
}

fn take_time(bytes: &[u8]) -> Result<(DateTime<Utc>, &[u8]), InvalidPageToken> {
    let (time, rest) = bytes.split_first_chunk::<8>().ok_or(InvalidPageToken)?;
    let time = DateTime::from_timestamp_micros(i64::from_be_bytes(*time)).ok_or(InvalidPageToken)?;
    Ok((time, rest))
}
