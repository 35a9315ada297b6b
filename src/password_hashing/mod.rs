//! bcrypt, kept from starving everything else.
//!
//! A hash of cost 12 occupies a core for a quarter of a second. Hashes are computed on threads of their own, as many as
//! there are cores, at a low priority; a bounded number of further ones waits, in order. Whoever cannot be served
//! before its deadline is refused at once, and whoever stops waiting (deadline passed, client gone) leaves the
//! queue before any work is done.
//!
//! A caller first takes a [`Place`], which costs nothing and may be refused, then a [`Turn`], and with that
//! computes exactly one hash.

mod decoy;
mod imported;
mod threads;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::domain::{ImportedPasswordHash, Password, PasswordHash, PresentedPassword};
use crate::telemetry::HashingMetrics;
use threads::HashingThreads;

/// Computes password hashes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PasswordHasher(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    cost: u32,
    concurrency: usize,
    capacity: usize,
    turns: Arc<Semaphore>,
    threads: HashingThreads,
    waiting: AtomicUsize,
    pace: Pace,
    decoy: PasswordHash,
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
    /// Too many are waiting, or those that are would take longer than the caller can wait.
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
    /// Makes a hasher. `concurrency` is how many hashes are computed at the same time, `capacity` how many may
    /// wait beside those.
    #[must_use]
    pub fn new(cost: u32, concurrency: usize, capacity: usize, metrics: HashingMetrics) -> Self {
        Self(Arc::new(Shared {
            cost,
            concurrency,
            capacity,
            turns: Arc::new(Semaphore::new(concurrency)),
            threads: HashingThreads::start(concurrency),
            waiting: AtomicUsize::new(0),
            pace: Pace::guess(cost),
            decoy: decoy::hash(cost),
            metrics,
        }))
    }

    /// Returns the cost of new hashes.
    #[must_use]
    pub fn cost(&self) -> u32 {
        self.0.cost
    }

    /// Takes a place in the queue, or refuses at once what could not be done by the deadline.
    pub fn admit(&self, deadline: Instant) -> Result<Place, HashingError> {
        let shared = &self.0;
        let ahead = shared.waiting.fetch_add(1, Ordering::AcqRel);
        let place = Place(Some(Arc::clone(shared)));
        let running = self.status().running;
        // An idle server always tries: otherwise one slow hash could have it refuse for good.
        let is_idle = ahead == 0 && running < shared.concurrency;
        let time_needed = shared.pace.time_for(ahead + running, shared.concurrency);
        let is_too_late = !is_idle && Instant::now() + time_needed > deadline;
        if ahead < shared.capacity && !is_too_late {
            return Ok(place);
        }
        shared.metrics.refused.inc();
        Err(HashingError::Overloaded {
            retry_after: shared
                .pace
                .time_for(ahead.min(shared.capacity), shared.concurrency),
        })
    }

    /// Hashes a password with a random salt, waiting for a turn.
    pub async fn hash(
        &self,
        password: Password,
        deadline: Instant,
    ) -> Result<PasswordHash, HashingError> {
        self.admit(deadline)?.turn().await?.hash(password).await
    }

    /// Tells how the queue is doing.
    #[must_use]
    pub fn status(&self) -> HashingStatus {
        let shared = &self.0;
        HashingStatus {
            concurrency: shared.concurrency,
            running: shared
                .concurrency
                .saturating_sub(shared.turns.available_permits()),
            waiting: shared.waiting.load(Ordering::Relaxed).min(shared.capacity),
            capacity: shared.capacity,
        }
    }
}

/// A place in the queue, given up when dropped.
#[derive(Debug)]
pub struct Place(Option<Arc<Shared>>);

impl Place {
    /// Waits for a turn.
    pub async fn turn(mut self) -> Result<Turn, HashingError> {
        let Some(shared) = self.0.clone() else {
            return Err(HashingError::Failed("a place was used twice".to_owned()));
        };
        let abandoned = Abandoned(Some(&shared.metrics));
        let permit = Arc::clone(&shared.turns)
            .acquire_owned()
            .await
            .map_err(|error| HashingError::Failed(error.to_string()))?;
        abandoned.not();
        self.leave();
        Ok(Turn { shared, permit })
    }

    fn leave(&mut self) {
        if let Some(shared) = self.0.take() {
            shared.waiting.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Counts a caller that stops waiting.
struct Abandoned<'a>(Option<&'a HashingMetrics>);

impl Abandoned<'_> {
    fn not(mut self) {
        self.0 = None;
    }
}

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        if let Some(metrics) = self.0 {
            metrics.abandoned.inc();
        }
    }
}

/// The turn to compute one hash.
#[derive(Debug)]
pub struct Turn {
    shared: Arc<Shared>,
    permit: OwnedSemaphorePermit,
}

impl Turn {
    /// Hashes a password with a random salt.
    pub async fn hash(self, password: Password) -> Result<PasswordHash, HashingError> {
        let cost = self.shared.cost;
        // A `Password` is never longer than the bytes that count. `non_truncating_hash` would refuse the longest
        // ones, for which bcrypt has no room for its NUL.
        self.compute(move || (bcrypt::hash(password.reveal(), cost), Some(cost)))
            .await
            .map(PasswordHash::new)
    }

    /// Tells whether a password is the one that was hashed. Without a hash, and for a password that is longer than
    /// any, the work is the same and the answer is no.
    pub async fn verify(
        self,
        presented: PresentedPassword,
        hash: Option<PasswordHash>,
    ) -> Result<bool, HashingError> {
        let decoy = self.shared.decoy.clone();
        let is_possible = hash.is_some() && matches!(presented, PresentedPassword::Possible(_));
        let matches = self
            .compute(move || {
                let against = hash.unwrap_or(decoy);
                let outcome = match &presented {
                    PresentedPassword::Possible(password) => {
                        bcrypt::verify(password.reveal(), against.reveal())
                    }
                    PresentedPassword::TooLong => bcrypt::verify("", against.reveal()),
                };
                (outcome, against.cost())
            })
            .await?;
        Ok(matches && is_possible)
    }

    /// Tells whether a password is the one that another system has hashed, and hashes it anew if it is. It is one hash of
    /// bcrypt, as for everybody, beside what the other system's function costs.
    pub async fn verify_imported(
        self,
        presented: PresentedPassword,
        hash: ImportedPasswordHash,
    ) -> Result<Option<PasswordHash>, HashingError> {
        let cost = self.shared.cost;
        let decoy = self.shared.decoy.clone();
        self.compute(move || {
            let PresentedPassword::Possible(password) = presented else {
                let outcome = bcrypt::verify("", decoy.reveal());
                return (outcome.map(|_| None), decoy.cost());
            };
            if imported::verify(password.reveal().as_bytes(), &hash) {
                let outcome = bcrypt::hash(password.reveal(), cost);
                return (outcome.map(|new| Some(PasswordHash::new(new))), None);
            }
            let outcome = bcrypt::verify(password.reveal(), decoy.reveal());
            (outcome.map(|_| None), None)
        })
        .await
    }

    /// Computes one hash on a thread of its own. It is counted, and its time is taken.
    async fn compute<R: Send + 'static>(
        self,
        work: impl FnOnce() -> (bcrypt::BcryptResult<R>, Option<u32>) + Send + 'static,
    ) -> Result<R, HashingError> {
        let Self { shared, permit } = self;
        let metrics = shared.metrics.clone();
        let (outcome, cost, took) = shared
            .threads
            .run(move || {
                let begin = Instant::now();
                let (outcome, cost) = work();
                metrics.computed.inc();
                // The turn lasts as long as the work, also when nobody waits for its result any more.
                drop(permit);
                (outcome, cost, begin.elapsed())
            })
            .await
            .ok_or_else(|| HashingError::Failed("a hash was not finished".to_owned()))?;
        if cost == Some(shared.cost) {
            shared.pace.note(took);
        }
        outcome.map_err(|error| HashingError::Failed(error.to_string()))
    }
}

/// How long a hash takes: a moving average, in nanoseconds.
#[derive(Debug)]
struct Pace(AtomicU64);

impl Pace {
    /// Guesses before there is anything to go by: a hash of cost 12 takes a quarter of a second, and each
    /// further step of the cost doubles it.
    fn guess(cost: u32) -> Self {
        const REFERENCE_COST: i32 = 12;
        const REFERENCE_SECONDS: f64 = 0.25;
        let steps = i32::try_from(cost).unwrap_or(REFERENCE_COST) - REFERENCE_COST;
        Self(AtomicU64::new(nanoseconds(Duration::from_secs_f64(
            REFERENCE_SECONDS * 2_f64.powi(steps),
        ))))
    }

    /// Notes how long a hash took. An eighth of each counts, so that one hiccup does not.
    fn note(&self, took: Duration) {
        const WEIGHT: u64 = 8;
        let before = self.0.load(Ordering::Relaxed);
        let after = before - before / WEIGHT + nanoseconds(took) / WEIGHT;
        self.0.store(after, Ordering::Relaxed);
    }

    /// Returns how long it takes until one more is done that has `ahead` before it.
    fn time_for(&self, ahead: usize, concurrency: usize) -> Duration {
        let rounds = u32::try_from(ahead / concurrency.max(1)).unwrap_or(u32::MAX);
        let one = Duration::from_nanos(self.0.load(Ordering::Relaxed));
        one.saturating_mul(rounds.saturating_add(1))
    }
}

fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
