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

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bcrypt_lanes::{Digest, Salt};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use zeroize::Zeroizing;

use crate::domain::{ImportedPasswordHash, Password, PasswordHash, PresentedPassword};
use crate::telemetry::HashingMetrics;
pub use engine::BcryptEngine;
use engine::{Answer, Engine, Hash};
use equality::is_equal;
use modular_crypt::Parts;
use pace::Pace;
use threads::HashingThreads;

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
    /// Makes a hasher and starts its threads.
    #[must_use]
    pub fn new(settings: HashingSettings, metrics: HashingMetrics) -> Self {
        let HashingSettings {
            cost,
            engine,
            threads,
            capacity,
        } = settings;
        let concurrency = threads * engine.lanes();
        let pace = Arc::new(Pace::guess(engine.guessed_step()));
        Self(Arc::new(Shared {
            cost,
            concurrency,
            capacity,
            turns: Arc::new(Semaphore::new(concurrency)),
            engine: Engine::start(engine, threads, Arc::clone(&pace), metrics.clone()),
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
        let place = Place {
            shared: Some(Arc::clone(shared)),
            deadline: (!is_idle).then_some(deadline),
        };
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

/// A place in the queue, given up when dropped.
#[derive(Debug)]
pub struct Place {
    shared: Option<Arc<Shared>>,
    /// When the hash is of no more use; nothing for one that is tried in any case.
    deadline: Option<Instant>,
}

impl Place {
    /// Waits for a turn. Refuses whom it comes too late for, because the queue went slower than it was when the place was
    /// taken.
    pub async fn turn(mut self) -> Result<Turn, HashingError> {
        let Some(shared) = self.shared.clone() else {
            return Err(HashingError::Failed("a place was used twice".to_owned()));
        };
        let abandoned = Abandoned(Some(&shared.metrics));
        let permit = Arc::clone(&shared.turns)
            .acquire_owned()
            .await
            .map_err(|error| HashingError::Failed(error.to_string()))?;
        abandoned.not();
        self.leave();
        if !self.is_in_time(shared.time_for(0)) {
            return Err(shared.refuse(shared.waiting.load(Ordering::Relaxed)));
        }
        Ok(Turn { shared, permit })
    }

    fn is_in_time(&self, time_needed: Duration) -> bool {
        let done = Instant::now().checked_add(time_needed);
        self.deadline
            .is_none_or(|deadline| done.is_some_and(|done| done <= deadline))
    }

    fn leave(&mut self) {
        if let Some(shared) = self.shared.take() {
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
        let mut salt = Salt::default();
        SystemRandom::new()
            .fill(&mut salt)
            .map_err(|_| HashingError::Failed("there are no random bytes".to_owned()))?;
        let digest = self.compute(cost, salt, password.reveal()).await?;
        Ok(Parts { cost, salt, digest }.format())
    }

    /// Tells whether a password is the one that was hashed. Without a hash, and for a password that is longer than
    /// any, the work is the same and the answer is no.
    pub async fn verify(
        self,
        presented: PresentedPassword,
        hash: Option<PasswordHash>,
    ) -> Result<bool, HashingError> {
        let against = match &hash {
            Some(hash) => Parts::parse(hash).map_err(|error| HashingError::Failed(error.to_string()))?,
            None => self.shared.decoy,
        };
        let (password, is_possible) = match &presented {
            PresentedPassword::Possible(password) => (password.reveal(), hash.is_some()),
            PresentedPassword::TooLong => ("", false),
        };
        let digest = self.compute(against.cost, against.salt, password).await?;
        Ok(is_possible & is_equal(&digest, &against.digest))
    }

    /// Tells whether a password is the one that another system has hashed, and hashes it anew if it is. It is one hash of
    /// bcrypt, as for everybody, beside what the other system's function costs.
    pub async fn verify_imported(
        self,
        presented: PresentedPassword,
        hash: ImportedPasswordHash,
    ) -> Result<Option<PasswordHash>, HashingError> {
        let PresentedPassword::Possible(password) = presented else {
            self.verify(PresentedPassword::TooLong, None).await?;
            return Ok(None);
        };
        // On a thread of its own: it does not go step by step, and would hold up its neighbours.
        let candidate = password.clone();
        let is_right = self
            .shared
            .threads
            .run(move || imported::verify(candidate.reveal().as_bytes(), &hash))
            .await
            .ok_or_else(not_finished)?;
        if is_right {
            return self.hash(password).await.map(Some);
        }
        self.verify(PresentedPassword::Possible(password), None).await?;
        Ok(None)
    }

    async fn compute(self, cost: u32, salt: Salt, password: &str) -> Result<Digest, HashingError> {
        let (sender, digest) = oneshot::channel();
        self.shared.engine.compute(Hash {
            cost,
            salt,
            password: Zeroizing::new(password.as_bytes().to_vec()),
            answer: Answer {
                digest: sender,
                turn: self.permit,
            },
        });
        digest.await.map_err(|_| not_finished())
    }
}

fn not_finished() -> HashingError {
    HashingError::Failed("a hash was not finished".to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use futures_util::future::join_all;

    use super::{BcryptEngine, HashingError, HashingSettings, PasswordHasher};
    use crate::domain::{Password, PasswordHash, PresentedPassword};
    use crate::telemetry::HashingMetrics;

    fn hasher(engine: BcryptEngine, cost: u32, metrics: &HashingMetrics) -> PasswordHasher {
        let settings = HashingSettings {
            cost,
            engine,
            threads: 1,
            capacity: 64,
        };
        PasswordHasher::new(settings, metrics.clone())
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

    /// Waits until so many hashes are computed at the same time.
    async fn until_running(hasher: &PasswordHasher, count: usize) {
        let wait = async {
            while hasher.status().running != count {
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
        until_running(&hasher, hasher.status().concurrency).await;
        for leaving in hashing.drain(..4) {
            leaving.abort();
        }
        until_running(&hasher, 1).await;
        assert_eq!(hasher.status().waiting, 0);
        for leaving in hashing {
            leaving.abort();
        }
        until_running(&hasher, 0).await;
        assert_eq!(metrics.computed.get(), 0);
    }
}
