//! The threads that compute bcrypt, and the hashes that wait for them.
//!
//! Each thread computes up to [`LANES`] hashes side by side. A hash goes to a thread that has nothing to do if there is
//! one, because alone it is done sooner; otherwise to whichever has a free lane first.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bcrypt_lanes::{Batch, DIGEST_BYTES, Digest, Job, LANES, MAX_PASSWORD_BYTES, Salt};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use zeroize::Zeroizing;

use super::courtesy::{Courtesy, NAP, Next, WorkElsewhere, is_at_risk};
use super::pace::Pace;
use super::threads::lower_priority;
use crate::telemetry::HashingMetrics;

/// What computes bcrypt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BcryptEngine {
    /// Several hashes side by side on each thread.
    Interleaved,
    /// The `bcrypt` crate, one hash at a time on each thread.
    Reference,
}

impl BcryptEngine {
    /// Every engine.
    pub const ALL: [Self; 2] = [Self::Interleaved, Self::Reference];

    /// The name in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Interleaved => "interleaved",
            Self::Reference => "reference",
        }
    }

    /// How many hashes a thread computes at the same time.
    pub(super) const fn lanes(self) -> usize {
        match self {
            Self::Interleaved => LANES,
            Self::Reference => 1,
        }
    }

    /// What a step of the cost loop takes about while every lane is taken, before any was measured.
    pub(super) const fn guessed_step(self) -> Duration {
        match self {
            Self::Interleaved => Duration::from_micros(110),
            Self::Reference => Duration::from_micros(65),
        }
    }
}

/// A hash that is to be computed.
pub(super) struct Hash {
    pub(super) cost: u32,
    pub(super) salt: Salt,
    pub(super) password: Zeroizing<Vec<u8>>,
    pub(super) answer: Answer,
}

/// Where a digest goes.
pub(super) struct Answer {
    pub(super) digest: oneshot::Sender<Digest>,
    /// When it is of no more use.
    pub(super) deadline: Instant,
    /// The turn lasts as long as the work does, also when nobody waits for it any more.
    pub(super) turn: OwnedSemaphorePermit,
}

/// Threads that live as long as this value.
#[derive(Debug)]
pub(super) struct Engine(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    arrival: Condvar,
    pace: Arc<Pace>,
    elsewhere: WorkElsewhere,
    metrics: HashingMetrics,
}

#[derive(Default)]
struct Queue {
    hashes: VecDeque<Hash>,
    /// The threads that wait for one.
    idle: usize,
    is_closed: bool,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Queue")
            .field("hashes", &self.hashes.len())
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// Starts the threads. If the machine has none to give, hashes are not finished.
    pub(super) fn start(
        kind: BcryptEngine,
        threads: usize,
        pace: Arc<Pace>,
        elsewhere: WorkElsewhere,
        metrics: HashingMetrics,
    ) -> Self {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            arrival: Condvar::new(),
            pace,
            elsewhere,
            metrics,
        });
        for _ in 0..threads {
            let shared = Arc::clone(&shared);
            let thread = thread::Builder::new().name("hashing".to_owned());
            if let Err(error) = thread.spawn(move || shared.work(kind)) {
                tracing::error!(%error, "a thread for hashing could not be started");
            }
        }
        Self(shared)
    }

    /// Has a hash computed by the next thread that can.
    pub(super) fn compute(&self, hash: Hash) {
        self.0.lock().hashes.push_back(hash);
        self.0.arrival.notify_one();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.arrival.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Computes hashes until there will be no more.
    fn work(&self, kind: BcryptEngine) {
        let work = || match kind {
            BcryptEngine::Interleaved => self.work_side_by_side(),
            BcryptEngine::Reference => self.work_one_by_one(),
        };
        // A hash that panics is an answer that does not come, not a thread less.
        while catch_unwind(AssertUnwindSafe(work)).is_err() {
            tracing::error!("a thread for hashing panicked");
        }
    }

    /// Waits for a hash; there is none once the engine is dropped.
    fn wait(&self) -> Option<Hash> {
        let mut queue = self.lock();
        loop {
            if let Some(hash) = queue.hashes.pop_front() {
                return Some(hash);
            }
            if queue.is_closed {
                return None;
            }
            queue.idle += 1;
            queue = self.arrival.wait(queue).unwrap_or_else(PoisonError::into_inner);
            queue.idle -= 1;
        }
    }

    /// Takes a hash that no other thread has time for.
    fn take(&self) -> Option<Hash> {
        let mut queue = self.lock();
        (queue.hashes.len() > queue.idle)
            .then(|| queue.hashes.pop_front())
            .flatten()
    }

    fn work_side_by_side(&self) {
        /// How often the hashes are looked at, in steps.
        const LOOK_EVERY: u32 = 64;
        let mut batch = Batch::new();
        let mut last = Instant::now();
        let mut courtesy = Courtesy::new(last);
        let mut steps: u32 = 0;
        let mut is_urgent = false;
        loop {
            if batch.is_empty() {
                let Some(first) = self.wait() else {
                    return;
                };
                join(&mut batch, first);
                last = Instant::now();
                courtesy.resume(last);
                is_urgent = false;
            }
            while !batch.is_full()
                && let Some(next) = self.take()
            {
                join(&mut batch, next);
            }
            let hashes = batch.len();
            let begin = Instant::now();
            batch.advance(|answer, digest| self.finish(answer, digest));
            let end = Instant::now();
            if hashes == LANES {
                self.pace.note(end - last, 1);
            }
            last = end;
            match courtesy.after_step(hashes, begin, end, is_urgent, &self.elsewhere) {
                Next::Sleep => thread::sleep(NAP),
                Next::Yield => thread::yield_now(),
                Next::Run => {}
            }
            steps = steps.wrapping_add(1);
            if steps.is_multiple_of(LOOK_EVERY) {
                let (usual, quickest) = (self.pace.step(), courtesy.quickest(hashes));
                is_urgent = false;
                batch.retain(|answer, steps_left| {
                    let time_left = answer.deadline.saturating_duration_since(end);
                    is_urgent |= is_at_risk(steps_left, time_left, usual, quickest);
                    self.is_awaited(answer)
                });
            }
        }
    }

    /// Tells whether anybody still waits for a digest, and counts who does not.
    fn is_awaited(&self, answer: &Answer) -> bool {
        let is_awaited = !answer.digest.is_closed();
        if !is_awaited {
            self.metrics.abandoned.inc();
        }
        is_awaited
    }

    /// A hash of the library goes from its beginning to its end, so that only a low priority lets others go first.
    fn work_one_by_one(&self) {
        lower_priority();
        while let Some(hash) = self.wait() {
            let begin = Instant::now();
            // Its buffer has the size from the beginning: one that grows would leave a copy behind.
            let mut terminated = Zeroizing::new(Vec::with_capacity(MAX_PASSWORD_BYTES));
            let bytes = hash.password.iter().copied().chain([0]);
            terminated.extend(bytes.take(MAX_PASSWORD_BYTES));
            let long = bcrypt::bcrypt(hash.cost, hash.salt, &terminated);
            let mut digest = [0; DIGEST_BYTES];
            for (byte, from) in digest.iter_mut().zip(long) {
                *byte = from;
            }
            self.pace.note(begin.elapsed(), 1 << hash.cost);
            self.finish(hash.answer, digest);
        }
    }

    fn finish(&self, answer: Answer, digest: Digest) {
        self.metrics.computed.inc();
        drop(answer.turn);
        // Nobody may be waiting any more.
        let _ = answer.digest.send(digest);
    }
}

/// Gives a hash a lane. One that cannot be computed is dropped, which its caller notices.
fn join(batch: &mut Batch<Answer>, hash: Hash) {
    match Job::new(hash.cost, hash.salt, &hash.password) {
        Ok(job) => {
            if batch.join(&job, hash.answer).is_err() {
                tracing::error!("a hash found no lane");
            }
        }
        Err(error) => tracing::error!(%error, "a hash cannot be computed"),
    }
}
