//! Reading from a replica without reading the past.
//!
//! A caller always reads its own writes, and everybody else's that were committed before the call, whichever
//! replica of this service took the write: before a read goes to the replica, the primary is asked how far
//! its write-ahead log has got, and the replica must have replayed that much. This is the read index of the
//! Raft paper (Ongaro, "Consensus: Bridging Theory and Practice", 2014, §6.4) with the log position of
//! PostgreSQL in the part of the commit index. Calls that wait at the same moment share one question.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use tokio::sync::Mutex;

use super::DatabaseError;
use super::pools::Pools;
use super::postgres::{self, Connection};

/// Compares the positions of the primary and the replica.
#[derive(Default)]
pub(super) struct ReadIndex {
    arrivals: AtomicU64,
    last_answer: Mutex<Answer>,
    /// How far the replica is known to have got; it never goes back.
    replayed: AtomicI64,
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
        let needed = self.primary_position(pools).await?;
        if self.replayed.load(Ordering::Acquire) >= needed {
            return Ok(true);
        }
        let position = pools
            .read_on(&pools.reader, &postgres::replica_position, &())
            .await;
        match position {
            Ok(Some(position)) => {
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
                tracing::debug!(%error, "the replica does not answer");
                Ok(false)
            }
        }
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
            .read_on(&pools.writer, &postgres::primary_position, &())
            .await?;
        *answer = Answer { arrivals, position };
        Ok(position)
    }
}
