//! bcrypt, kept from starving everything else.
//!
//! A hash of cost 12 occupies a core for a quarter of a second. Hashes are computed on threads that may
//! block, as many at a time as there are cores; a bounded number of further ones waits, in order; beyond
//! that they are refused at once. Whoever stops waiting (deadline passed, client gone) leaves the queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::domain::{Password, PasswordHash};
use crate::telemetry::HashingMetrics;

/// Computes password hashes.
#[derive(Debug, Clone)]
pub struct PasswordHasher {
    cost: u32,
    concurrency: usize,
    capacity: usize,
    turns: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    metrics: HashingMetrics,
}

/// How the queue is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashingStatus {
    /// How many hashes are computed at the same time.
    pub concurrency: usize,
    /// The hashes being computed.
    pub running: usize,
    /// The hashes waiting to be computed.
    pub waiting: usize,
    /// The most hashes that may wait.
    pub capacity: usize,
}

/// Why there is no hash.
#[derive(Debug, thiserror::Error)]
pub enum HashingError {
    /// Too many are waiting.
    #[error("too many passwords are waiting to be hashed")]
    Overloaded {
        /// When it is worth trying again.
        retry_after: Duration,
    },
    /// The library failed: the operating system gave no random bytes.
    #[error("hashing failed: {0}")]
    Failed(String),
}

impl PasswordHasher {
    /// Makes a hasher. `concurrency` is how many hashes are computed at the same time, `capacity` how many
    /// may wait beside those.
    #[must_use]
    pub fn new(cost: u32, concurrency: usize, capacity: usize, metrics: HashingMetrics) -> Self {
        Self {
            cost,
            concurrency,
            capacity,
            turns: Arc::new(Semaphore::new(concurrency)),
            waiting: Arc::default(),
            metrics,
        }
    }

    /// Hashes a password with a random salt.
    pub async fn hash(&self, password: Password) -> Result<PasswordHash, HashingError> {
        let turn = {
            let _place = Place::take(&self.waiting, self.capacity).ok_or_else(|| {
                self.metrics.refused.inc();
                HashingError::Overloaded {
                    retry_after: self.time_for_queue(),
                }
            })?;
            Arc::clone(&self.turns)
                .acquire_owned()
                .await
                .map_err(|error| HashingError::Failed(error.to_string()))?
        };
        let cost = self.cost;
        let hash = tokio::task::spawn_blocking(move || {
            // The turn lasts as long as the work, also when nobody waits for its result any more.
            let _turn = turn;
            // A `Password` is never longer than the bytes that count. `non_truncating_hash` would refuse the
            // longest ones, for which bcrypt has no room for its NUL.
            bcrypt::hash(password.reveal(), cost)
        })
        .await
        .map_err(|error| HashingError::Failed(error.to_string()))?
        .map_err(|error| HashingError::Failed(error.to_string()))?;
        self.metrics.computed.inc();
        Ok(PasswordHash::new(hash))
    }

    /// Tells how the queue is doing.
    #[must_use]
    pub fn status(&self) -> HashingStatus {
        HashingStatus {
            concurrency: self.concurrency,
            running: self.concurrency.saturating_sub(self.turns.available_permits()),
            waiting: self.waiting.load(Ordering::Relaxed).min(self.capacity),
            capacity: self.capacity,
        }
    }

    /// About how long a full queue takes: a hash of cost 12 takes a quarter of a second, and each further
    /// step of the cost doubles it.
    fn time_for_queue(&self) -> Duration {
        const REFERENCE_COST: i32 = 12;
        const REFERENCE_SECONDS: f64 = 0.25;
        let steps = i32::try_from(self.cost).unwrap_or(REFERENCE_COST) - REFERENCE_COST;
        let rounds = self.capacity.div_ceil(self.concurrency.max(1));
        let rounds = f64::from(u32::try_from(rounds).unwrap_or(u32::MAX));
        let seconds = REFERENCE_SECONDS * 2_f64.powi(steps) * rounds;
        Duration::from_secs_f64(seconds.clamp(0.1, 60.0))
    }
}

/// A place in the queue, given up when dropped.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize, capacity: usize) -> Option<Self> {
        let place = Self(waiting);
        if waiting.fetch_add(1, Ordering::AcqRel) < capacity {
            Some(place)
        } else {
            None
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
