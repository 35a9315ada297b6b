//! Reading from a replica without reading the past.
//!
//! A caller always reads its own writes, and everybody else's that were committed before the call, whichever
//! replica of this service took the write: before a read goes to the replica, the primary is asked how far
//! its write-ahead log has got, and the replica must have replayed that much. This is the read index of the
//! Raft paper (Ongaro, "Consensus: Bridging Theory and Practice", 2014, §6.4) with the log position of
//! PostgreSQL in the part of the commit index. Calls that wait at the same moment share one question.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex as BlockingMutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::DatabaseError;
use super::pools::Pools;
use super::postgres::{self, Connection};

/// How long a replica that did not answer is left alone: the read that tries it again may wait for as long as
/// a call waits for a connection, which should befall few.
const REST: Duration = Duration::from_secs(5);

/// Compares the positions of the primary and the replica.
#[derive(Default)]
pub(super) struct ReadIndex {
    arrivals: AtomicU64,
    last_answer: Mutex<Answer>,
    /// How far the replica is known to have got; it never goes back.
    replayed: AtomicI64,
    /// Until when a replica that did not answer is left alone.
    rests_until: BlockingMutex<Option<Instant>>,
}

/// What the primary last answered.
#[derive(Default)]
struct Answer {
    /// The number of calls that had arrived when it was asked.
    arrivals: u64,
    position: i64,
}

impl ReadIndex {
    /// Tells whether the replica has everything that was committed before this call.
    ///
    /// It is not waited for: a replica that lags is passed over. Fails if the primary cannot be reached,
    /// because then nobody knows what was committed.
    pub(super) async fn has_caught_up(&self, pools: &Pools<Connection>) -> Result<bool, DatabaseError> {
        if !self.is_worth_asking() {
            return Ok(false);
        }
        let needed = self.primary_position(pools).await?;
        if self.replayed.load(Ordering::Acquire) >= needed {
            return Ok(true);
        }
        let position = pools
            .read_on(&pools.reader, postgres::replica_position, Arc::new(()))
            .await;
        match position {
            Ok(Some(position)) => {
                self.note_answer();
                self.replayed.fetch_max(position, Ordering::AcqRel);
                Ok(position >= needed)
            }
            Ok(None) => {
                tracing::warn!(
                    "DATABASE_REPLICA_URL does not lead to a replica; reading from the primary"
                );
                Ok(false)
            }
            Err(error) => {
                self.note_silence(&error);
                Ok(false)
            }
        }
    }

    /// Tells whether to ask the replica: not soon after it failed to answer, or every read would wait for it
    /// in vain. After that rest one caller tries, and the others go on without it until it answers.
    fn is_worth_asking(&self) -> bool {
        let now = Instant::now();
        let mut rests_until = self.rests_until.lock().unwrap_or_else(PoisonError::into_inner);
        match *rests_until {
            None => true,
            Some(end) if now < end => false,
            Some(_) => {
                *rests_until = Some(now + REST);
                true
            }
        }
    }

    /// Notes that the replica answers.
    pub(super) fn note_answer(&self) {
        *self.rests_until.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Notes that the replica does not answer.
    pub(super) fn note_silence(&self, error: &DatabaseError) {
        tracing::debug!(%error, "the replica does not answer; reading from the primary");
        *self.rests_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + REST);
    }

    async fn primary_position(&self, pools: &Pools<Connection>) -> Result<i64, DatabaseError> {
        let arrival = self.arrivals.fetch_add(1, Ordering::AcqRel) + 1;
        let mut answer = self.last_answer.lock().await;
        if answer.arrivals >= arrival {
            // Somebody asked after this call had arrived.
            return Ok(answer.position);
        }
        let arrivals = self.arrivals.load(Ordering::Acquire);
        let position = pools
            .read_on(&pools.writer, postgres::primary_position, Arc::new(()))
            .await?;
        *answer = Answer { arrivals, position };
        Ok(position)
    }
}
