//! Tokens with which services call: 32 random bytes and a checksum.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use prometheus_client::metrics::counter::Counter;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::{SecretToken, TokenError, hash_of};
use crate::database::DatabaseError;
use crate::domain::{NewServiceToken, Refusal, Scopes, ServiceName, ServiceToken, ServiceTokenId};
use crate::repositories::ServiceTokenRepository;

/// What a service token begins with, so that scanners for leaked secrets recognise it.
const PREFIX: &str = "ids_";

/// As many as there are in a SHA-256, which is what is stored.
const RANDOM_BYTES: usize = 32;

/// Enough that one of four thousand million mistyped tokens is looked for.
const CHECKSUM_BYTES: usize = 4;

/// How often at most an unknown token has the tokens read again: somebody who makes tokens up cannot keep the
/// database busy.
const MIN_RELOAD_INTERVAL: Duration = Duration::from_millis(250);

type Copy = HashMap<[u8; 32], Arc<ServiceToken>>;

/// Issues and recognises service tokens. Cheap to clone.
///
/// Every server has a copy of all tokens, so that a call costs a digest and no question to the database. The copy is read
/// again every few seconds, and when somebody comes with a token that is not in it.
#[derive(Clone)]
pub struct ServiceTokens {
    repository: ServiceTokenRepository,
    known: Arc<Known>,
    last_reload: Arc<tokio::sync::Mutex<Option<Instant>>>,
    uses: Arc<Mutex<HashMap<ServiceTokenId, DateTime<Utc>>>>,
    readings: Counter,
}

/// The copy, and who wants to know that it was read again.
struct Known {
    copy: RwLock<Arc<Copy>>,
    has_read: watch::Sender<()>,
}

impl Known {
    fn copy(&self) -> Arc<Copy> {
        Arc::clone(&self.copy.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns a token of the copy that is good; nothing if the copy has none with this hash.
    fn good(&self, hash: &[u8; 32], now: DateTime<Utc>) -> Option<Result<Arc<ServiceToken>, Refusal>> {
        let token = self.copy().get(hash).cloned()?;
        Some(if token.revoked_at.is_some() {
            Err(Refusal::TokenInvalid)
        } else if token.has_expired(now) {
            Err(Refusal::TokenExpired)
        } else {
            Ok(token)
        })
    }
}

/// A token with which a call came that goes on: whether it is still good.
#[derive(Clone)]
pub struct StandingToken {
    known: Arc<Known>,
    hash: [u8; 32],
}

/// A token that a service presents, and that is good.
#[derive(Debug, Clone)]
pub struct FoundServiceToken {
    /// What is known of it.
    pub token: Arc<ServiceToken>,
    /// What tells whether it stays good.
    pub standing: StandingToken,
}

impl fmt::Debug for StandingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StandingToken")
    }
}

impl StandingToken {
    /// Checks the token against the copy, without asking the database.
    pub fn check(&self, now: DateTime<Utc>) -> Result<(), Refusal> {
        self.known
            .good(&self.hash, now)
            .unwrap_or(Err(Refusal::TokenInvalid))
            .map(drop)
    }

    /// Tells whenever the copy has been read again.
    #[must_use]
    pub fn readings(&self) -> watch::Receiver<()> {
        self.known.has_read.subscribe()
    }
}

impl fmt::Debug for ServiceTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServiceTokens")
    }
}

impl ServiceTokens {
    /// Makes an empty copy. `readings` counts how often it is read.
    #[must_use]
    pub fn new(repository: ServiceTokenRepository, readings: Counter) -> Self {
        Self {
            repository,
            known: Arc::new(Known {
                copy: RwLock::default(),
                has_read: watch::Sender::new(()),
            }),
            last_reload: Arc::default(),
            uses: Arc::default(),
            readings,
        }
    }

    /// Makes a token. It is known once it is stored.
    pub fn issue(
        name: ServiceName,
        scopes: Scopes,
        expires_at: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Result<(SecretToken, NewServiceToken), TokenError> {
        let mut bytes = Zeroizing::new([0; RANDOM_BYTES]);
        SystemRandom::new()
            .fill(bytes.as_mut_slice())
            .map_err(|_| TokenError::NoRandomness)?;
        let mut text = PREFIX.to_owned();
        push_hex(&mut text, bytes.as_slice());
        push_hex(&mut text, &checksum(bytes.as_slice()));
        let secret = SecretToken::new(text);
        let new = Self::known(&secret, name, scopes, expires_at, now);
        Ok((secret, new))
    }

    /// Describes a token whose text is there already.
    #[must_use]
    pub fn known(
        secret: &SecretToken,
        name: ServiceName,
        scopes: Scopes,
        expires_at: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> NewServiceToken {
        NewServiceToken {
            token: ServiceToken {
                id: ServiceTokenId::generate(now),
                name,
                scopes,
                expires_at,
                revoked_at: None,
                last_used_at: None,
                created_at: now,
            },
            token_hash: hash_of(secret.reveal()),
        }
    }

    /// Tells whether a text is meant to be a service token.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        text.starts_with(PREFIX)
    }

    /// Tells whether a text has the form of a service token.
    #[must_use]
    pub fn is_well_formed(text: &str) -> bool {
        /// Two digits for each byte.
        const DIGITS: usize = 2 * (RANDOM_BYTES + CHECKSUM_BYTES);
        let Some(digits) = text.strip_prefix(PREFIX) else {
            return false;
        };
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if digits.len() != DIGITS || !digits.bytes().all(is_digit) {
            return false;
        }
        let Some((random, check)) = digits.split_at_checked(2 * RANDOM_BYTES) else {
            return false;
        };
        let bytes = Zeroizing::new(from_hex(random));
        let mut expected = String::new();
        push_hex(&mut expected, &checksum(&bytes));
        check == expected
    }

    /// Reads the tokens again.
    pub async fn reload(&self) -> Result<(), DatabaseError> {
        let mut last_reload = self.last_reload.lock().await;
        let begun = Instant::now();
        self.read_copy().await?;
        *last_reload = Some(begun);
        Ok(())
    }

    /// Finds a token that a service presents.
    pub async fn find(
        &self,
        text: &str,
        now: DateTime<Utc>,
    ) -> Result<FoundServiceToken, DatabaseError> {
        let hash = hash_of(text);
        let token = match self.known.good(&hash, now) {
            Some(known) => known?,
            None if Self::is_well_formed(text) => {
                // Boxed, so that the calls of known tokens do not take the room.
                self.reload_for_unknown().boxed().await?;
                let known = self.known.good(&hash, now);
                known.unwrap_or(Err(Refusal::TokenInvalid))?
            }
            None => return Err(Refusal::TokenInvalid.into()),
        };
        self.note_use(&token, now);
        let known = Arc::clone(&self.known);
        Ok(FoundServiceToken {
            token,
            standing: StandingToken { known, hash },
        })
    }

    /// Writes which tokens were used since it was last written.
    pub async fn record_uses(&self) -> Result<(), DatabaseError> {
        let uses = std::mem::take(&mut *self.uses.lock().unwrap_or_else(PoisonError::into_inner));
        if uses.is_empty() {
            return Ok(());
        }
        self.repository.record_uses(uses.into_iter().collect()).await
    }

    /// Reads the tokens again for somebody who came just now. All who come before it begins share one reading.
    async fn reload_for_unknown(&self) -> Result<(), DatabaseError> {
        let came = Instant::now();
        let mut last_reload = self.last_reload.lock().await;
        if let Some(time) = *last_reload {
            if time > came {
                return Ok(());
            }
            tokio::time::sleep(MIN_RELOAD_INTERVAL.saturating_sub(time.elapsed())).await;
        }
        let begun = Instant::now();
        self.read_copy().await?;
        *last_reload = Some(begun);
        Ok(())
    }

    async fn read_copy(&self) -> Result<(), DatabaseError> {
        self.readings.inc();
        let tokens = self.repository.list_with_hashes().await?;
        let copy = tokens
            .into_iter()
            .map(|(hash, token)| (hash, Arc::new(token)))
            .collect();
        let mut held = self.known.copy.write().unwrap_or_else(PoisonError::into_inner);
        *held = Arc::new(copy);
        drop(held);
        self.known.has_read.send_replace(());
        Ok(())
    }

    fn note_use(&self, token: &ServiceToken, now: DateTime<Utc>) {
        let is_on_record = token
            .last_used_at
            .is_some_and(|time| now < time + ServiceToken::USE_PRECISION);
        if !is_on_record {
            let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
            uses.insert(token.id, now);
        }
    }
}

fn checksum(bytes: &[u8]) -> Vec<u8> {
    let whole = digest(&SHA256, bytes);
    whole.as_ref().iter().copied().take(CHECKSUM_BYTES).collect()
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    use std::fmt::Write as _;
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
}

fn from_hex(digits: &str) -> Vec<u8> {
    digits
        .as_bytes()
        .chunks(2)
        .filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::ServiceTokens;
    use crate::domain::{Scope, ServiceName};

    #[test]
    fn what_is_mistyped_is_recognised_without_looking_for_it() {
        let name = ServiceName::parse("todo").expect("a name");
        let scopes = [Scope::ADMIN].into_iter().collect();
        let (secret, _) =
            ServiceTokens::issue(name, scopes, None, DateTime::UNIX_EPOCH).expect("a token");
        let text = secret.reveal();
        assert!(ServiceTokens::is_well_formed(text));
        for index in 0..text.len() {
            let mut bytes = text.as_bytes().to_vec();
            let byte = bytes.get_mut(index).expect("a byte");
            *byte = if *byte == b'0' { b'1' } else { b'0' };
            let changed = String::from_utf8(bytes).expect("text");
            assert!(!ServiceTokens::is_well_formed(&changed), "{changed}");
        }
        let cut = text.get(..text.len() - 1).expect("a shorter text");
        for other in ["", "ids_", cut, &format!("{text}0"), &text.to_uppercase()] {
            assert!(!ServiceTokens::is_well_formed(other), "{other}");
        }
    }
}
