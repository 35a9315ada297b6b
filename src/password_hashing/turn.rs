//! Who waits for a hash, and what comes of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bcrypt_lanes::{Digest, Salt};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use zeroize::Zeroizing;

use super::engine::{Answer, Hash};
use super::equality::is_equal;
use super::modular_crypt::Parts;
use super::{HashingError, Shared, imported};
use crate::domain::{ImportedPasswordHash, Password, PasswordHash, PresentedPassword};

/// A place in the queue, given up when dropped.
#[derive(Debug)]
pub struct Place {
    shared: Option<Arc<Shared>>,
    /// When the hash is of no more use.
    deadline: Instant,
    /// Whether it is tried in any case.
    is_tried_anyway: bool,
    /// Whether the turn is all that is waited for, so that whoever gives the place up has left the queue.
    is_waiting: bool,
}

impl Place {
    /// Counts as one who waits already.
    pub(super) const fn new(shared: Arc<Shared>, deadline: Instant, is_tried_anyway: bool) -> Self {
        Self {
            shared: Some(shared),
            deadline,
            is_tried_anyway,
            is_waiting: false,
        }
    }

    /// Leaves nothing to do but to wait for the turn. Whoever gives the place up from now on is counted as one who left,
    /// also where nobody has come yet to ask for the turn.
    #[must_use]
    pub const fn wait(mut self) -> Self {
        self.is_waiting = true;
        self
    }

    /// Waits for a turn. Refuses whom it comes too late for, because the queue went slower than it was when the place was
    /// taken.
    pub async fn turn(self) -> Result<Turn, HashingError> {
        let mut place = self.wait();
        let Some(shared) = place.shared.clone() else {
            return Err(HashingError::Failed("a place was used twice".to_owned()));
        };
        let permit = Arc::clone(&shared.turns)
            .acquire_owned()
            .await
            .map_err(|error| HashingError::Failed(error.to_string()))?;
        place.leave();
        // The pace of the last moments is no promise: half as much again is kept in reserve.
        let needed = shared.time_for(0);
        if !place.is_in_time(needed.saturating_add(needed / 2)) {
            return Err(shared.refuse(shared.waiting.load(Ordering::Relaxed)));
        }
        Ok(Turn {
            shared,
            permit,
            deadline: place.deadline,
        })
    }

    /// Tells whether what takes so long would be done by the deadline.
    pub(super) fn is_in_time(&self, time_needed: Duration) -> bool {
        let done = Instant::now().checked_add(time_needed);
        self.is_tried_anyway || done.is_some_and(|done| done <= self.deadline)
    }

    /// Gives the place back, and returns whose queue it was in.
    fn leave(&mut self) -> Option<Arc<Shared>> {
        let shared = self.shared.take()?;
        shared.waiting.fetch_sub(1, Ordering::AcqRel);
        Some(shared)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(shared) = self.leave()
            && self.is_waiting
        {
            shared.metrics.abandoned.inc();
        }
    }
}

/// The turn to compute one hash.
#[derive(Debug)]
pub struct Turn {
    shared: Arc<Shared>,
    permit: OwnedSemaphorePermit,
    deadline: Instant,
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
                deadline: self.deadline,
                turn: self.permit,
            },
        });
        digest.await.map_err(|_| not_finished())
    }
}

fn not_finished() -> HashingError {
    HashingError::Failed("a hash was not finished".to_owned())
}
