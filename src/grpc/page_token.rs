//! Page tokens: opaque, authenticated, bound to the list they belong to.
//!
//! A token is the position in the list, encrypted with AES-256-GCM, with the filter and the order as
//! associated data: it tells nothing about users, cannot be made up, and is of no use for another list.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use uuid::Uuid;

use crate::domain::ListPosition;
use crate::master_key::{KeyPurpose, MasterKey};

/// Makes and reads page tokens.
#[derive(Clone)]
pub struct PageTokens(Arc<LessSafeKey>);

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
        let key = master_key.derive(KeyPurpose::PageTokens);
        let key = UnboundKey::new(&AES_256_GCM, key.as_slice()).ok()?;
        Some(Self(Arc::new(LessSafeKey::new(key))))
    }

    /// Makes the token for the page after a position. `list` tells lists apart.
    pub(super) fn issue(
        &self,
        position: ListPosition,
        list: &[u8],
        now: DateTime<Utc>,
    ) -> Option<String> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).ok()?;
        let mut sealed = Vec::with_capacity(PLAIN_BYTES + AES_256_GCM.tag_len());
        sealed.extend(now.timestamp_micros().to_be_bytes());
        sealed.extend(position.created_at.timestamp_micros().to_be_bytes());
        sealed.extend(position.id.as_bytes());
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(list), &mut sealed)
            .ok()?;
        Some(URL_SAFE_NO_PAD.encode([nonce.as_slice(), &sealed].concat()))
    }

    /// Reads a token.
    pub(super) fn read(
        &self,
        token: &str,
        list: &[u8],
        now: DateTime<Utc>,
    ) -> Result<ListPosition, InvalidPageToken> {
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| InvalidPageToken)?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_LEN>().ok_or(InvalidPageToken)?;
        let mut sealed = sealed.to_vec();
        let plain = self
            .0
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(list), &mut sealed)
            .map_err(|_| InvalidPageToken)?;
        let (issued_at, rest) = take_time(plain)?;
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
