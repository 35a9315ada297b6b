//! How often one caller may call.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::Clock as GovernorClock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

use crate::clock::Clock;
use crate::config::RateLimit;

/// Counts the calls of each caller, in a token bucket (the generic cell rate algorithm of ITU-T I.371).
pub(super) struct RateLimits<K: Hash + Eq + Clone> {
    limiter: Option<Limiter<K>>,
}

type Limiter<K> = RateLimiter<K, HashMapStateStore<K>, Timer, NoOpMiddleware<Nanos>>;

/// The time of the service, as the algorithm wants it.
#[derive(Clone)]
struct Timer(Arc<dyn Clock>);

impl GovernorClock for Timer {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        let since_epoch = self.0.now().timestamp_nanos_opt().unwrap_or_default();
        Nanos::new(u64::try_from(since_epoch).unwrap_or_default())
    }
}

impl<K: Hash + Eq + Clone> RateLimits<K> {
    /// Prepares the counters; without a limit nothing is counted.
    pub(super) fn new(limit: Option<RateLimit>, clock: &Arc<dyn Clock>) -> Self {
        let limiter = limit.and_then(|limit| {
            let quota = Quota::with_period(limit.period / limit.calls.get())?;
            let timer = Timer(Arc::clone(clock));
            let store = HashMapStateStore::default();
            Some(RateLimiter::new(quota.allow_burst(limit.calls), store, timer))
        });
        Self { limiter }
    }

    /// Counts a call, or says how long its caller has to wait.
    pub(super) fn count(&self, caller: &K) -> Result<(), Duration> {
        let Some(limiter) = &self.limiter else {
            return Ok(());
        };
        limiter
            .check_key(caller)
            .map_err(|not_until| not_until.wait_time_from(limiter.clock().now()))
    }

    /// Forgets callers whose calls do not count any more.
    pub(super) fn forget_idle(&self) {
        if let Some(limiter) = &self.limiter {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    }
}
