//! bcrypt, kept from starving everything else.
//!
//! A hash of cost 12 occupies a core for a quarter of a second. Hashes are computed on threads of their own, as many as
//! there are cores, which give way to everybody else; on each of them, several are computed side by side. A bounded
//! number of further ones waits, in order. Whoever cannot be served before its deadline is refused at once, and whoever
//! stops waiting (deadline passed, client gone) leaves the queue before any work is done.
//!
//! A caller first takes a [`Place`], which costs nothing and may be refused, then a [`Turn`], and with that
//! computes exactly one hash.

mod courtesy;
mod decoy;
mod engine;
mod equality;
mod imported;
mod modular_crypt;
mod pace;
mod threads;
mod turn;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::domain::{Password, PasswordHash};
use crate::telemetry::HashingMetrics;
use courtesy::WorkElsewhere;
pub use engine::BcryptEngine;
use engine::Engine;
use modular_crypt::Parts;
use pace::Pace;
use threads::HashingThreads;
pub use turn::{Place, Turn};

/// Computes password hashes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PasswordHasher(Arc<Shared>);

/// How hashes are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashingSettings {
    /// The cost of new hashes.
    pub cost: u32,
    /// What computes them.
    pub engine: BcryptEngine,
    /// The threads of the engine.
    pub threads: usize,
    /// How many hashes may wait.
    pub capacity: usize,
}

#[derive(Debug)]
struct Shared {
    cost: u32,
    concurrency: usize,
    capacity: usize,
    turns: Arc<Semaphore>,
    engine: Engine,
    /// For what other systems have hashed.
    threads: HashingThreads,
    waiting: AtomicUsize,
    pace: Arc<Pace>,
    decoy: Parts,
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
    /// The operating system gave no random bytes, or a hash of the database is none.
    #[error("hashing failed: {0}")]
    Failed(String),
}

impl PasswordHasher {
    /// Makes a hasher and starts its threads. They give way to another process, a database server, while
    /// `is_work_elsewhere` says that it works for this one.
    #[must_use]
    pub fn new(
        settings: HashingSettings,
        metrics: HashingMetrics,
        is_work_elsewhere: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        let HashingSettings {
            cost,
            engine,
            threads,
            capacity,
        } = settings;
        let concurrency = threads * engine.lanes();
        let pace = Arc::new(Pace::guess(engine.guessed_step()));
        let elsewhere = WorkElsewhere::told_by(is_work_elsewhere);
        Self(Arc::new(Shared {
            cost,
            concurrency,
            capacity,
            turns: Arc::new(Semaphore::new(concurrency)),
            engine: Engine::start(engine, threads, Arc::clone(&pace), elsewhere, metrics.clone()),
            threads: HashingThreads::start(threads),
            waiting: AtomicUsize::new(0),
            pace,
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
        let running = self.status().running;
        // An idle server always tries: otherwise one slow hash could have it refuse for good.
        let is_idle = ahead == 0 && running < shared.concurrency;
        let place = Place::new(Arc::clone(shared), deadline, is_idle);
        if ahead < shared.capacity && place.is_in_time(shared.safe_time_for(ahead + running)) {
            return Ok(place);
        }
        Err(shared.refuse(ahead))
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

impl Shared {
    /// Returns how long one should have that takes a place with `ahead` before it: a fourth and one hash more than is
    /// expected, because the machine may have more to do by then, and who is refused when its turn comes has waited in vain.
    fn safe_time_for(&self, ahead: usize) -> Duration {
        let expected = self.time_for(ahead);
        expected
            .saturating_add(expected / 4)
            .saturating_add(self.time_for(0))
    }

    /// Refuses a hash that would have `ahead` before it.
    fn refuse(&self, ahead: usize) -> HashingError {
        self.metrics.refused.inc();
        HashingError::Overloaded {
            retry_after: self.time_for(ahead.min(self.capacity)),
        }
    }

    /// Returns how long it takes until one more hash is done that has `ahead` before it.
    fn time_for(&self, ahead: usize) -> Duration {
        self.pace.time_for(self.cost, ahead, self.concurrency)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::Ordering;
    use std::time::{Duration, Instant};

    use futures_util::future::join_all;

    use super::{BcryptEngine, HashingError, HashingSettings, HashingStatus, PasswordHasher, Place};
    use crate::domain::{Password, PasswordHash, PresentedPassword};
    use crate::telemetry::HashingMetrics;

    fn hasher(engine: BcryptEngine, cost: u32, metrics: &HashingMetrics) -> PasswordHasher {
        let settings = HashingSettings {
            cost,
            engine,
            threads: 1,
            capacity: 64,
        };
        PasswordHasher::new(settings, metrics.clone(), || true)
    }

    fn password(text: &str) -> Password {
        match PresentedPassword::parse(text) {
            Ok(PresentedPassword::Possible(password)) => password,
            other => panic!("{other:?}"),
        }
    }

    /// A year from now, for hashes that take days.
    fn later() -> Instant {
        Instant::now() + Duration::from_secs(365 * 24 * 3600)
    }

    /// Waits until so many hashes are computed and wait.
    async fn until(hasher: &PasswordHasher, running: usize, waiting: usize) {
        let wait = async {
            let is_so = |status: HashingStatus| (status.running, status.waiting) == (running, waiting);
            while !is_so(hasher.status()) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let patience = Duration::from_secs(60);
        tokio::time::timeout(patience, wait)
            .await
            .expect("it never came to that");
    }

    async fn is_right(hasher: &PasswordHasher, text: &str, hash: &PasswordHash) -> bool {
        let turn = hasher
            .admit(later())
            .expect("a place")
            .turn()
            .await
            .expect("a turn");
        let presented = PresentedPassword::Possible(password(text));
        turn.verify(presented, Some(hash.clone()))
            .await
            .expect("an answer")
    }

    #[tokio::test]
    async fn every_engine_hashes_and_verifies_what_the_library_does() {
        for engine in BcryptEngine::ALL {
            let metrics = HashingMetrics::default();
            let hasher = hasher(engine, 4, &metrics);
            let texts: Vec<String> = (0..12).map(|n| format!("correct horse {n}")).collect();
            let all = texts.iter().map(|text| hasher.hash(password(text), later()));
            let hashes = join_all(all).await;
            for (text, hash) in texts.iter().zip(hashes) {
                let hash = hash.expect("a hash");
                assert!(bcrypt::verify(text, hash.reveal()).expect("a hash"), "{engine:?}");
                assert!(is_right(&hasher, text, &hash).await);
                assert!(!is_right(&hasher, "correct mouse", &hash).await);
                let by_library = PasswordHash::new(bcrypt::hash(text, 5).expect("a hash"));
                assert!(is_right(&hasher, text, &by_library).await);
            }
            assert_eq!(metrics.computed.get(), 4 * 12);
        }
    }

    #[tokio::test]
    async fn without_a_hash_the_work_is_the_same_and_the_answer_is_no() {
        let metrics = HashingMetrics::default();
        let hasher = hasher(BcryptEngine::Interleaved, 4, &metrics);
        let somebody = PresentedPassword::Possible(password("correct horse"));
        for presented in [somebody, PresentedPassword::TooLong] {
            let turn = hasher
                .admit(later())
                .expect("a place")
                .turn()
                .await
                .expect("a turn");
            assert!(!turn.verify(presented, None).await.expect("an answer"));
        }
        assert_eq!(metrics.computed.get(), 2);
    }

    #[tokio::test]
    async fn whoever_cannot_be_served_in_time_is_refused_at_once() {
        let metrics = HashingMetrics::default();
        // A hash of this cost would take two days.
        let hasher = hasher(BcryptEngine::Interleaved, 31, &metrics);
        let soon = Instant::now() + Duration::from_secs(60);
        let lanes = hasher.status().concurrency;
        let mut turns = Vec::new();
        for _ in 0..lanes {
            // While there is room, everybody is tried.
            turns.push(hasher.admit(soon).expect("room").turn().await.expect("a turn"));
        }
        assert!(hasher.admit(soon).is_err());
        assert!(hasher.admit(later()).is_ok());
        assert_eq!(metrics.refused.get(), 1);
        assert_eq!(hasher.status().waiting, 0);
        // A place that was given back before the wait began was not left.
        assert_eq!(metrics.abandoned.get(), 0);
        drop(hasher.admit(later()).expect("a place").wait());
        assert_eq!(metrics.abandoned.get(), 1);
        assert_eq!(hasher.status().waiting, 0);
    }

    #[tokio::test]
    async fn a_place_is_taken_with_time_to_spare() {
        let metrics = HashingMetrics::default();
        let hasher = hasher(BcryptEngine::Interleaved, 12, &metrics);
        let mut turns = Vec::new();
        for _ in 0..hasher.status().concurrency {
            turns.push(hasher.admit(later()).expect("room").turn().await.expect("a turn"));
        }
        // As fast as the guess: nothing has been computed yet. The one ahead and its own take 0.9 s.
        let expected = hasher.0.time_for(turns.len());
        let within = |time: Duration| hasher.admit(Instant::now() + time);
        assert!(within(expected + expected / 5).is_err());
        assert!(within(expected * 10).is_ok());
    }

    #[tokio::test]
    async fn whose_turn_comes_too_late_is_refused() {
        let metrics = HashingMetrics::default();
        let hasher = hasher(BcryptEngine::Interleaved, 12, &metrics);
        let mut turns = Vec::new();
        for _ in 0..hasher.status().concurrency {
            turns.push(hasher.admit(later()).expect("room").turn().await.expect("a turn"));
        }
        let place = hasher
            .admit(Instant::now() + Duration::from_secs(60))
            .expect("time");
        // It turns out that hashes take a day.
        hasher.0.pace.note(Duration::from_secs(24 * 3600), 4096);
        drop(turns);
        assert!(matches!(place.turn().await, Err(HashingError::Overloaded { .. })));
        assert_eq!(metrics.refused.get(), 1);
        assert_eq!(hasher.status().running, 0);
    }

    #[tokio::test]
    async fn a_turn_is_taken_with_time_to_spare() {
        let metrics = HashingMetrics::default();
        // A hash of this cost would take two days.
        let hasher = hasher(BcryptEngine::Interleaved, 31, &metrics);
        let needed = hasher.0.time_for(0);
        let turn_within = |time: Duration| {
            hasher.0.waiting.fetch_add(1, Ordering::AcqRel);
            Place::new(Arc::clone(&hasher.0), Instant::now() + time, false).turn()
        };
        assert!(turn_within(needed + needed / 4).await.is_err());
        assert!(turn_within(needed * 2).await.is_ok());
    }

    #[tokio::test]
    async fn whoever_leaves_makes_room_for_whoever_waits() {
        let metrics = HashingMetrics::default();
        // A hash of this cost would take two days.
        let hasher = hasher(BcryptEngine::Interleaved, 31, &metrics);
        let mut hashing: Vec<_> = (0..5)
            .map(|_| {
                let hasher = hasher.clone();
                tokio::spawn(async move { hasher.hash(password("correct horse"), later()).await })
            })
            .collect();
        until(&hasher, hasher.status().concurrency, 1).await;
        for leaving in hashing.drain(..4) {
            leaving.abort();
        }
        until(&hasher, 1, 0).await;
        for leaving in hashing {
            leaving.abort();
        }
        until(&hasher, 0, 0).await;
        assert_eq!(metrics.computed.get(), 0);
        assert_eq!(metrics.abandoned.get(), 5);
    }
}
