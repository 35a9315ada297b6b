//! Reads and transactions over the pools of one database.

use std::sync::Arc;
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use tokio::time::Instant;

use super::DatabaseError;
use super::connection::{DatabaseConnection, Query};
use super::event_commits::{EventCommits, noting_events};
use super::pool::{Lease, Pool};
use super::postgres;
use super::work::{Work, work};
use crate::telemetry::DatabaseMetrics;

/// The most times a transaction is tried before the caller is told to try again: with the pauses between
/// them, the attempts take about as long as a caller is willing to wait for one change.
pub(super) const MAX_ATTEMPTS: u32 = 8;

/// How long after the first attempt another one may begin: attempts that collide are over in an instant, and
/// who has waited for a lock until the database gave up has waited long enough. The deadlocks that
/// PostgreSQL finds after a second are within it.
pub(super) const RETRY_WINDOW: Duration = Duration::from_secs(2);

/// The pause before the second attempt; it doubles with each further one and is spread at random.
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// A writer and a reader pool. On PostgreSQL without a replica they are the same.
pub(crate) struct Pools<C: DatabaseConnection> {
    pub(crate) writer: Pool<C>,
    pub(super) reader: Pool<C>,
    /// The longest a read or an attempt at a transaction may take before its connection counts as dead.
    pub(super) operation_timeout: Duration,
    pub(super) metrics: DatabaseMetrics,
    /// Who follows the events is told.
    pub(super) event_commits: EventCommits,
}

impl<C: DatabaseConnection> Pools<C> {
    /// Runs a query that only reads, on `pool`, as [`Pools::do_on`] says.
    pub(crate) async fn read_on<A, R, Q>(
        &self,
        pool: &Pool<C>,
        query: Q,
        arguments: Arc<A>,
    ) -> Result<R, DatabaseError>
    where
        A: Send + Sync + 'static,
        R: Send + 'static,
        Q: for<'r> Query<'r, C, A, R> + Copy + Send + Sync + 'static,
    {
        let (work, answer) = work(query, arguments);
        self.do_on(pool, work).await?;
        answer.take()
    }

    /// Does work that only reads, on `pool`. If its connection turns out to be dead, it is done once more on another
    /// one; a pool that has no connection to give is not asked twice.
    pub(super) async fn do_on(&self, pool: &Pool<C>, work: Work<C>) -> Result<(), DatabaseError> {
        let lease = pool.acquire().await?;
        match self.do_once(lease, Arc::clone(&work)).await {
            Err(DatabaseError::Unavailable(reason)) => {
                tracing::debug!(%reason, "reading once more on another connection");
                let next_lease = pool.acquire().await?;
                self.do_once(next_lease, work).await
            }
            outcome => outcome,
        }
    }

    async fn do_once(&self, lease: Lease<C>, work: Work<C>) -> Result<(), DatabaseError> {
        let (returned, outcome) = C::run(lease, self.operation_timeout, work).await;
        if let (Some(mut used), Err(error)) = (returned, &outcome)
            && error.is_of_connection()
        {
            used.mark_busy();
        }
        outcome
    }
}

/// SQLite has one writer, whose transactions [share their commits](super::group_commit).
impl Pools<postgres::Connection> {
    /// Does work in a transaction on the writer: all of it, or nothing.
    ///
    /// It is tried again, a bounded number of times, when other transactions get in the way and when the
    /// connection is lost before the commit. `name` is a metric label.
    pub(super) async fn transaction(
        &self,
        name: &'static str,
        mut lease: Lease<postgres::Connection>,
        body: Work<postgres::Connection>,
    ) -> Result<(), DatabaseError> {
        let begin = Instant::now();
        let (work, ended) = work(attempt, Arc::new(body));
        for number in 1.. {
            // Whoever drops this future between here and the end leaves the connection marked.
            lease.mark_busy();
            let (mut returned, outcome) =
                postgres::Connection::run(lease, self.operation_timeout, Arc::clone(&work)).await;
            // Of one that has not ended, nobody knows what becomes of it.
            let ended = outcome
                .and_then(|()| ended.take())
                .unwrap_or_else(|error| Attempt {
                    outcome: Outcome::Failed(error),
                    has_events: true,
                    is_connection_usable: false,
                });
            if let Some(used) = returned.as_mut().filter(|_| ended.is_connection_usable) {
                used.mark_ready();
            }
            self.metrics.count_transaction(name, ended.outcome.label());
            // Also where it is not known whether it was committed.
            if ended.has_events && !matches!(ended.outcome, Outcome::NothingDone(_)) {
                self.event_commits.notify();
            }
            let error = match ended.outcome {
                Outcome::Committed => return Ok(()),
                Outcome::Failed(error) => return Err(error),
                Outcome::NothingDone(error) => error,
            };
            if number == MAX_ATTEMPTS || begin.elapsed() >= RETRY_WINDOW {
                return Err(error);
            }
            tracing::debug!(transaction = name, attempt = number, %error, "trying a transaction again");
            tokio::time::sleep(pause_after(number)).await;
            lease = match returned {
                Some(used) if !error.is_of_connection() => used,
                unusable => {
                    drop(unusable);
                    self.writer.acquire().await?
                }
            };
        }
        Err(DatabaseError::TimedOut)
    }

    /// Runs a query of one statement that writes and is a transaction by itself. Where it fails, nobody knows whether it
    /// was carried out.
    pub(crate) async fn at_once<A, R, Q>(
        &self,
        mut lease: Lease<postgres::Connection>,
        query: Q,
        arguments: A,
    ) -> Result<R, DatabaseError>
    where
        A: Send + Sync + 'static,
        R: Send + 'static,
        Q: for<'r> Query<'r, postgres::Connection, A, R> + Copy + Send + Sync + 'static,
    {
        // Whoever drops this future between here and the end leaves the connection marked.
        lease.mark_busy();
        let (work, answer) = work(query, Arc::new(arguments));
        let (returned, outcome) = postgres::Connection::run(lease, self.operation_timeout, work).await;
        let is_of_connection = outcome.as_ref().is_err_and(DatabaseError::is_of_connection);
        if let Some(mut usable) = returned.filter(|_| !is_of_connection) {
            usable.mark_ready();
        }
        outcome.and_then(|()| answer.take())
    }
}

/// What came of an attempt at a transaction.
struct Attempt {
    outcome: Outcome,
    /// Whether it wrote events.
    has_events: bool,
    /// Whether the connection can be used again.
    is_connection_usable: bool,
}

/// Runs one attempt. It does not fail itself; what it returns says how it ended.
async fn attempt(
    connection: &mut postgres::Connection,
    body: &Work<postgres::Connection>,
) -> Result<Attempt, DatabaseError> {
    let whole = async {
        if let Err(error) = postgres::begin(connection).await {
            let is_connection_usable = !error.is_of_connection();
            return (Outcome::before_commit(error), is_connection_usable);
        }
        match body(connection).await {
            Ok(()) => match postgres::commit(connection).await {
                Ok(()) => (Outcome::Committed, true),
                Err(error) if error.is_conflict() => (Outcome::NothingDone(error), false),
                // The commit may have been carried out although its answer was lost.
                Err(error) => (Outcome::Failed(error), false),
            },
            Err(error) => {
                let is_connection_usable = postgres::rollback(connection).await.is_ok();
                (Outcome::before_commit(error), is_connection_usable)
            }
        }
    };
    let ((outcome, is_connection_usable), has_events) = noting_events(whole).await;
    Ok(Attempt {
        outcome,
        has_events,
        is_connection_usable,
    })
}

/// How an attempt at a transaction ended.
#[derive(Clone)]
pub(super) enum Outcome {
    /// It was committed.
    Committed,
    /// It failed, and trying again would not help or might do it twice.
    Failed(DatabaseError),
    /// It certainly did nothing, and may succeed when tried again.
    NothingDone(DatabaseError),
}

impl Outcome {
    /// Returns what an error means before the commit was asked for.
    pub(super) fn before_commit(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Conflict(_) | DatabaseError::Unavailable(_) => Self::NothingDone(error),
            DatabaseError::Refused(_) | DatabaseError::TimedOut | DatabaseError::Internal(_) => {
                Self::Failed(error)
            }
        }
    }

    /// Returns the metric label.
    pub(super) const fn label(&self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::Failed(DatabaseError::Refused(_)) => "refused",
            Self::Failed(_) => "failed",
            Self::NothingDone(_) => "retried",
        }
    }
}

/// Returns how long to wait after an attempt: twice as long each time, and anything from half of it to all
/// of it, so that transactions that collided do not collide again.
pub(super) fn pause_after(attempt: u32) -> Duration {
    let longest = FIRST_PAUSE.saturating_mul(1 << attempt.saturating_sub(1).min(MAX_ATTEMPTS));
    let mut random = [0_u8; 1];
    // Without randomness the pause is merely not spread.
    let _ = SystemRandom::new().fill(&mut random);
    let [random] = random;
    longest.mul_f64(0.5 + f64::from(random) / 512.0)
}
