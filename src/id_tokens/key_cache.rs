//! The keys of one provider, kept for a while.
//!
//! Whatever comes in, the provider is asked at most once per interval, and by one task at a time, which goes on when
//! whoever waits for it leaves. Keys that are no longer fresh are used while new ones are fetched behind them; after a
//! day without an answer of the provider they are not used any more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::watch;

use super::fetch::Fetcher;
use super::jwks::Key;
use super::provider::{KeySource, ProviderConfig};
use crate::clock::Clock;
use crate::config::KeyTimes;

/// How long keys are used whose provider does not answer: a key that it has given up must not be good for ever.
const MAX_AGE: TimeDelta = TimeDelta::hours(24);

/// Why there is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyError {
    /// The provider has none with this id.
    Unknown,
    /// The provider does not say.
    Unavailable {
        /// When it is asked again.
        retry_after: Duration,
    },
}

/// The keys of one provider. Cheap to clone.
#[derive(Clone)]
pub(super) struct KeyCache(Arc<Shared>);

struct Shared {
    provider: String,
    issuer: String,
    source: KeySource,
    fetcher: Fetcher,
    times: KeyTimes,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// Changes whenever the provider has been asked.
    asked: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    keys: Option<FetchedKeys>,
    /// When the provider was last asked.
    asked_at: Option<DateTime<Utc>>,
    /// Whether it is being asked.
    is_asking: bool,
    /// Whether it answered when it was last asked.
    has_answered: bool,
}

struct FetchedKeys {
    by_id: HashMap<String, Arc<Key>>,
    fetched_at: DateTime<Utc>,
}

/// What is found in the cache.
enum Found {
    Key(Arc<Key>),
    Nothing(KeyError),
    /// The provider is being asked.
    Wait,
}

impl KeyCache {
    pub(super) fn new(
        config: &ProviderConfig,
        fetcher: Fetcher,
        times: KeyTimes,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self(Arc::new(Shared {
            provider: config.name.as_str().to_owned(),
            issuer: config.issuer.clone(),
            source: config.keys.clone(),
            fetcher,
            times,
            clock,
            state: Mutex::default(),
            asked: watch::Sender::new(()),
        }))
    }

    /// Returns the key with an id. Waits for the provider only if there is no such key in the cache, and it may be asked.
    pub(super) async fn find(&self, kid: &str) -> Result<Arc<Key>, KeyError> {
        loop {
            let mut asked = self.0.asked.subscribe();
            match self.look(kid) {
                Found::Key(key) => return Ok(key),
                Found::Nothing(error) => return Err(error),
                // The sender is as old as the cache, so that this ends only with an answer.
                Found::Wait => drop(asked.changed().await),
            }
        }
    }

    fn look(&self, kid: &str) -> Found {
        let now = self.0.clock.now();
        let mut state = self.0.state();
        let age = |keys: &FetchedKeys| now - keys.fetched_at;
        let usable = state.keys.as_ref().filter(|keys| age(keys) < MAX_AGE);
        let found = usable.and_then(|keys| keys.by_id.get(kid)).cloned();
        let has_keys = usable.is_some();
        let is_stale = usable.is_none_or(|keys| age(keys) >= self.0.times.lifetime);
        let next_at = state.asked_at.map(|time| time + self.0.times.interval);
        // A clock that was set back does not keep the provider from being asked.
        let may_ask = next_at.is_none_or(|next| now >= next || next - now > self.0.times.interval);
        if may_ask && !state.is_asking && (found.is_none() || is_stale) {
            state.is_asking = true;
            state.asked_at = Some(now);
            self.ask();
        }
        match found {
            Some(key) => Found::Key(key),
            None if state.is_asking => Found::Wait,
            None if has_keys && state.has_answered => Found::Nothing(KeyError::Unknown),
            None => {
                let wait = next_at.map(|next| next - now).unwrap_or_default();
                let retry_after = wait.to_std().unwrap_or_default();
                Found::Nothing(KeyError::Unavailable { retry_after })
            }
        }
    }

    /// Asks the provider in a task of its own.
    fn ask(&self) {
        let asking = Asking(Arc::clone(&self.0));
        tokio::spawn(async move {
            let shared = &asking.0;
            let answer = shared.fetcher.keys(&shared.source, &shared.issuer).await;
            let mut state = shared.state();
            state.has_answered = answer.is_ok();
            match answer {
                Ok(keys) => {
                    let by_id = keys.into_iter().map(|(kid, key)| (kid, Arc::new(key)));
                    state.keys = Some(FetchedKeys {
                        by_id: by_id.collect(),
                        fetched_at: shared.clock.now(),
                    });
                }
                Err(error) => {
                    let provider = shared.provider.as_str();
                    tracing::warn!(provider, %error, "the keys of a provider cannot be fetched");
                }
            }
        });
    }
}

impl Shared {
    /// Nothing panics while it holds the lock; if it did, what is there would still be whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The provider is being asked; when this is dropped, it no longer is, whatever became of it.
struct Asking(Arc<Shared>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.state().is_asking = false;
        self.0.asked.send_replace(());
    }
}
