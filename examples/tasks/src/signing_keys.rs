//! The keys that access tokens are verified with, as the identity service last published them.
//!
//! A token costs no call: the keys are kept, and go on counting while the identity service is away. They are fetched
//! again in the background when they are a minute old and used, so that a key that was revoked is soon of no use, and at
//! once for a token whose key is not among them; but however many such tokens come, no more often than every few
//! seconds, and by one fetch at a time.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Mutex;
use tonic::transport::Channel;

use crate::Clock;
use crate::access_tokens::PublicKey;
use crate::proto::identity::v1::ListSigningKeysRequest;
use crate::proto::identity::v1::auth_service_client::AuthServiceClient;

/// After which age keys that are used are fetched again in the background.
const REFRESH_AFTER: TimeDelta = TimeDelta::seconds(60);

/// The least time between two fetches. The identity service publishes a key ten minutes before it signs, so that
/// nobody who is honest waits for this.
const MIN_INTERVAL: TimeDelta = TimeDelta::seconds(10);

/// How long a fetch may take: a call waits for it.
const FETCH_LIMIT: Duration = Duration::from_secs(3);

/// The keys. Cheap to clone.
#[derive(Clone)]
pub struct SigningKeys(Arc<Shared>);

struct Shared {
    client: AuthServiceClient<Channel>,
    clock: Clock,
    kept: RwLock<Arc<Kept>>,
    /// Held during a fetch.
    attempt: Mutex<Attempt>,
}

#[derive(Default)]
struct Kept {
    keys: HashMap<String, PublicKey>,
    fetched_at: Option<DateTime<Utc>>,
}

/// The last fetch.
#[derive(Default)]
struct Attempt {
    begun_at: Option<DateTime<Utc>>,
    has_failed: bool,
}

/// The key is not known, and the identity service does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeysUnavailable;

impl SigningKeys {
    /// Takes the connection to the identity service, which need not be there yet.
    #[must_use]
    pub fn new(channel: Channel, clock: Clock) -> Self {
        Self(Arc::new(Shared {
            client: AuthServiceClient::new(channel),
            clock,
            kept: RwLock::default(),
            attempt: Mutex::default(),
        }))
    }

    /// Returns the key with an id; `None` if the identity service has not published it.
    ///
    /// # Errors
    ///
    /// [`KeysUnavailable`] if that cannot be told.
    pub async fn get(&self, kid: &str) -> Result<Option<PublicKey>, KeysUnavailable> {
        let kept = self.0.kept();
        if let Some(key) = kept.keys.get(kid) {
            if is_older_than(kept.fetched_at, REFRESH_AFTER, (self.0.clock)()) {
                let shared = Arc::clone(&self.0);
                tokio::spawn(async move { shared.refresh().await });
            }
            return Ok(Some(key.clone()));
        }
        // In a task of its own: a caller that hangs up must not have the others wait for another fetch.
        let shared = Arc::clone(&self.0);
        let is_current = tokio::spawn(async move { shared.refresh().await }).await;
        match self.0.kept().keys.get(kid) {
            Some(key) => Ok(Some(key.clone())),
            None if is_current.is_ok_and(|is_current| is_current) => Ok(None),
            None => Err(KeysUnavailable),
        }
    }
}

impl Shared {
    fn kept(&self) -> Arc<Kept> {
        Arc::clone(&self.kept.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Fetches the keys, unless that was tried a moment ago. Tells whether the last fetch succeeded.
    async fn refresh(&self) -> bool {
        let mut attempt = self.attempt.lock().await;
        let now = (self.clock)();
        if !is_older_than(attempt.begun_at, MIN_INTERVAL, now) {
            return !attempt.has_failed;
        }
        attempt.begun_at = Some(now);
        attempt.has_failed = match self.fetch().await {
            Ok(keys) => {
                let kept = Kept {
                    keys,
                    fetched_at: Some(now),
                };
                *self.kept.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(kept);
                false
            }
            Err(error) => {
                tracing::warn!(%error, "the signing keys cannot be fetched; those that are known go on counting");
                true
            }
        };
        !attempt.has_failed
    }

    async fn fetch(&self) -> Result<HashMap<String, PublicKey>, String> {
        let mut client = self.client.clone();
        let answer =
            tokio::time::timeout(FETCH_LIMIT, client.list_signing_keys(ListSigningKeysRequest {}))
                .await
                .map_err(|_| "the identity service does not answer".to_owned())?
                .map_err(|status| format!("{:?}: {}", status.code(), status.message()))?;
        let keys: HashMap<String, PublicKey> = answer
            .into_inner()
            .keys
            .into_iter()
            .filter_map(|key| Some((key.kid.clone(), PublicKey::of(&key)?)))
            .collect();
        if keys.is_empty() {
            // Whoever kept an empty set would refuse every token.
            return Err("the identity service has no keys yet".to_owned());
        }
        Ok(keys)
    }
}

/// Tells whether something happened so long ago, or never. A clock that steps back does not stop fetches.
fn is_older_than(time: Option<DateTime<Utc>>, age: TimeDelta, now: DateTime<Utc>) -> bool {
    time.is_none_or(|time| (now - time).abs() >= age)
}
