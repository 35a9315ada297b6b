//! Transactions of SQLite that share a commit.
//!
//! SQLite has one writer, and what a transaction costs is mostly its commit, which waits for the disk. Transactions that
//! wait at the same moment ([`super::together`]) are carried out one after the other, each within a savepoint of its own,
//! and committed together. One that fails is undone to its savepoint, and the others do not notice; nobody is answered
//! before the commit. Where anything but a transaction itself fails, all are undone and each is carried out alone.

use std::sync::Arc;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};
use tracing::Span;

use super::event_commits::{EventCommits, noting_events};
use super::pool::{Lease, Pool, Waiting};
use super::pools::{MAX_ATTEMPTS, Outcome, Pools, RETRY_WINDOW, pause_after};
use super::sqlite::Connection;
use super::together::{Overdue, Terms, Together};
use super::work::Work;
use super::{DatabaseError, SqliteDatabase};
use crate::telemetry::DatabaseMetrics;

/// The most transactions that share a commit: the first of them waits for the last.
const TRANSACTIONS: usize = 32;

/// A transaction that waits to be carried out. It may be carried out more than once.
pub(super) struct Job {
    name: &'static str,
    work: Work<Connection>,
    span: Span,
    waiting: Option<Waiting>,
}

/// How a transaction ended, and whether it wrote events.
type Ended = (Outcome, bool);

/// The transactions that wait for each other.
pub(super) struct GroupCommit(Together<Job, Outcome>);

impl GroupCommit {
    /// Nobody waits yet.
    pub(super) fn new(writer: &Pool<Connection>) -> Self {
        Self(Together::new(Terms {
            batches: 1,
            calls: TRANSACTIONS,
            halves_above: None,
            gathers: false,
            patience: writer.patience(),
            overdue: Overdue::Leaves,
        }))
    }
}

impl SqliteDatabase {
    /// Does work in a transaction: all of it, or nothing. Once it has begun it goes on to its end whatever becomes of the
    /// caller; it is tried again as [`Pools::transaction`] says.
    pub(crate) async fn commit(
        self: &Arc<Self>,
        name: &'static str,
        work: Work<Connection>,
    ) -> Result<(), DatabaseError> {
        let begin = Instant::now();
        for attempt in 1.. {
            let job = Job {
                name,
                work: Arc::clone(&work),
                span: Span::current(),
                waiting: Some(self.pools.writer.waiting()),
            };
            let this = Arc::clone(self);
            let carry_out = move |jobs| {
                let database = Arc::clone(&this);
                async move { carry_out(&database.pools, jobs).await }
            };
            let error = match self.group_commit.0.call(job, carry_out).await? {
                Outcome::Committed => return Ok(()),
                Outcome::Failed(error) => return Err(error),
                Outcome::NothingDone(error) => error,
            };
            if attempt == MAX_ATTEMPTS || begin.elapsed() >= RETRY_WINDOW {
                return Err(error);
            }
            tracing::debug!(transaction = name, attempt, %error, "trying a transaction again");
            tokio::time::sleep(pause_after(attempt)).await;
        }
        Err(DatabaseError::TimedOut)
    }
}

/// Carries out transactions on the writer, and tells how each ended.
async fn carry_out(
    pools: &Pools<Connection>,
    mut jobs: Vec<Job>,
) -> Vec<Result<Outcome, DatabaseError>> {
    let names: Vec<&'static str> = jobs.iter().map(|job| job.name).collect();
    let lease = match pools.writer.acquire_uncounted().await {
        Ok(lease) => lease,
        Err(error) => return names.iter().map(|_| Err(error.clone())).collect(),
    };
    for job in &mut jobs {
        job.waiting = None;
    }
    let ended = on_a_thread(lease, jobs, pools.operation_timeout).await;
    // Nobody knows what becomes of those that have not ended.
    let ended = ended.unwrap_or_else(|error| {
        let failed = || (Outcome::Failed(error.clone()), true);
        names.iter().map(|_| failed()).collect()
    });
    note(&pools.metrics, &pools.event_commits, &names, &ended);
    ended.into_iter().map(|(outcome, _)| Ok(outcome)).collect()
}

fn note(metrics: &DatabaseMetrics, events: &EventCommits, names: &[&'static str], ended: &[Ended]) {
    for (name, (outcome, _)) in names.iter().zip(ended) {
        metrics.count_transaction(name, outcome.label());
    }
    // Also where it is not known whether it was committed.
    let has_events =
        |(outcome, has_events): &Ended| *has_events && !matches!(outcome, Outcome::NothingDone(_));
    if ended.iter().any(has_events) {
        events.notify();
    }
}

async fn on_a_thread(
    mut lease: Lease<Connection>,
    jobs: Vec<Job>,
    limit: Duration,
) -> Result<Vec<Ended>, DatabaseError> {
    let runtime = Handle::current();
    // What ends without being marked ready is closed.
    lease.mark_busy();
    let work = tokio::task::spawn_blocking(move || {
        let mut session = Session {
            connection: lease.connection(),
            runtime,
            is_usable: true,
        };
        let ended = session.group(&jobs);
        if session.is_usable {
            lease.mark_ready();
        }
        ended
    });
    match timeout(limit, work).await {
        Ok(Ok(ended)) => Ok(ended),
        // The message of a panic may quote a value; its place has been logged.
        Ok(Err(_)) => Err(DatabaseError::Internal("a transaction panicked".to_owned())),
        Err(_) => Err(DatabaseError::TimedOut),
    }
}

/// The connection while transactions are carried out.
struct Session<'a> {
    connection: &'a mut Connection,
    runtime: Handle,
    is_usable: bool,
}

impl Session<'_> {
    fn group(&mut self, jobs: &[Job]) -> Vec<Ended> {
        if jobs.len() > 1
            && let Some(ended) = self.together(jobs)
        {
            return ended;
        }
        jobs.iter().map(|job| self.alone(job)).collect()
    }

    /// Carries out one transaction.
    fn alone(&mut self, job: &Job) -> Ended {
        if !self.is_usable {
            let error = DatabaseError::Unavailable("the connection was given up".to_owned());
            return (Outcome::NothingDone(error), false);
        }
        if let Err(error) = self.begin() {
            return (Outcome::before_commit(error), false);
        }
        match self.run(job) {
            Ok(has_events) => (self.commit(), has_events),
            Err(error) => {
                self.rollback();
                (Outcome::before_commit(error), false)
            }
        }
    }

    /// Carries out several transactions with one commit, unless something gets in the way that is not one of them. All
    /// are undone then.
    fn together(&mut self, jobs: &[Job]) -> Option<Vec<Ended>> {
        if let Err(error) = self.begin() {
            let failed = || (Outcome::before_commit(error.clone()), false);
            return Some(jobs.iter().map(|_| failed()).collect());
        }
        let mut outcomes = Vec::with_capacity(jobs.len());
        for job in jobs {
            let Ok(outcome) = self.in_savepoint(job) else {
                self.rollback();
                return None;
            };
            outcomes.push(outcome);
        }
        if outcomes.iter().all(Result::is_err) {
            self.rollback();
        }
        let commit = if outcomes.iter().any(Result::is_ok) {
            self.commit()
        } else {
            Outcome::Committed
        };
        let ended = outcomes.into_iter().map(|outcome| match outcome {
            Ok(has_events) => (commit.clone(), has_events),
            Err(error) => (Outcome::before_commit(error), false),
        });
        Some(ended.collect())
    }

    /// Carries out one of several transactions, and undoes what it did if it fails.
    fn in_savepoint(&mut self, job: &Job) -> Result<Result<bool, DatabaseError>, DatabaseError> {
        self.execute("SAVEPOINT one")?;
        let outcome = self.run(job);
        if outcome.is_err() {
            self.execute("ROLLBACK TO one")?;
        }
        // Where an error has ended the whole transaction, there is no savepoint any more.
        self.execute("RELEASE one")?;
        Ok(outcome)
    }

    /// Runs the queries of a transaction, and tells whether they wrote events.
    fn run(&mut self, job: &Job) -> Result<bool, DatabaseError> {
        let _entered = job.span.enter();
        let queries = noting_events((job.work)(self.connection));
        let (outcome, has_events) = self.runtime.block_on(queries);
        outcome.map(|()| has_events)
    }

    fn begin(&mut self) -> Result<(), DatabaseError> {
        // It takes the write lock at once: a transaction that reads first never has to give up later.
        let begun = self.execute("BEGIN IMMEDIATE");
        if begun.as_ref().is_err_and(DatabaseError::is_of_connection) {
            self.is_usable = false;
        }
        begun
    }

    fn commit(&mut self) -> Outcome {
        match self.execute("COMMIT") {
            Ok(()) => Outcome::Committed,
            Err(error) => {
                self.is_usable = false;
                if error.is_conflict() {
                    Outcome::NothingDone(error)
                } else {
                    // It may have been carried out all the same.
                    Outcome::Failed(error)
                }
            }
        }
    }

    fn rollback(&mut self) {
        /// What SQLite says where an error, such as a full disk, has ended the transaction already.
        const ENDED: &str = "no transaction is active";
        if let Err(error) = self.execute("ROLLBACK")
            && !error.to_string().contains(ENDED)
        {
            self.is_usable = false;
        }
    }

    fn execute(&mut self, statement: &'static str) -> Result<(), DatabaseError> {
        let executed = self
            .connection
            .spawn_blocking(|sqlite| sqlite.batch_execute(statement));
        Ok(self.runtime.block_on(executed)?)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use diesel::connection::SimpleConnection;
    use diesel::dsl::sql;
    use diesel::prelude::{Connection as _, RunQueryDsl};
    use diesel::sql_types::Text;
    use diesel::sqlite::SqliteConnection;
    use tracing::Span;

    use super::super::event_commits::note_event;
    use super::{Connection, DatabaseError, Ended, Job, Outcome, Session};

    /// Executes a statement, and fails afterwards if it should.
    fn job(statement: &'static str, fails: bool) -> Job {
        Job {
            name: "test",
            work: Arc::new(move |connection| {
                Box::pin(async move {
                    connection
                        .spawn_blocking(move |sqlite| sqlite.batch_execute(statement))
                        .await?;
                    note_event();
                    if fails {
                        return Err(DatabaseError::Internal("failed".to_owned()));
                    }
                    Ok(())
                })
            }),
            span: Span::none(),
            waiting: None,
        }
    }

    /// Carries out transactions that wait at the same moment, and returns how they ended and what was written.
    fn carry_out(jobs: &[Job]) -> (Vec<Ended>, String) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _entered = runtime.enter();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.db").to_str().unwrap().to_owned();
        let mut sqlite = SqliteConnection::establish(&path).unwrap();
        sqlite
            .batch_execute("CREATE TABLE written (number INTEGER PRIMARY KEY)")
            .unwrap();
        let mut connection = Connection::new(sqlite);
        let mut session = Session {
            connection: &mut connection,
            runtime: runtime.handle().clone(),
            is_usable: true,
        };
        let ended = session.group(jobs);
        assert!(session.is_usable);
        // On a connection of its own, which sees only what was committed.
        let mut other = SqliteConnection::establish(&path).unwrap();
        let numbers = "coalesce((SELECT group_concat(number) FROM (SELECT number FROM written ORDER BY number)), '')";
        let written = diesel::select(sql::<Text>(numbers))
            .get_result(&mut other)
            .unwrap();
        (ended, written)
    }

    fn labels(ended: &[Ended]) -> Vec<&'static str> {
        ended.iter().map(|(outcome, _)| outcome.label()).collect()
    }

    #[test]
    fn one_that_fails_is_undone_and_the_others_are_not() {
        let (ended, written) = carry_out(&[
            job("INSERT INTO written VALUES (1)", false),
            job("INSERT INTO written VALUES (2)", true),
            job("INSERT INTO written VALUES (1)", false),
            job("INSERT INTO written VALUES (3)", false),
        ]);
        assert_eq!(labels(&ended), ["committed", "failed", "failed", "committed"]);
        assert_eq!(written, "1,3");
    }

    /// As a disk does that is full.
    #[test]
    fn one_that_ends_the_transaction_of_all_takes_nobody_along() {
        let (ended, written) = carry_out(&[
            job("INSERT INTO written VALUES (1)", false),
            job("INSERT INTO written VALUES (2); ROLLBACK", true),
            job("INSERT INTO written VALUES (3)", false),
        ]);
        assert_eq!(labels(&ended), ["committed", "failed", "committed"]);
        assert_eq!(written, "1,3");
    }

    #[test]
    fn nothing_is_committed_where_all_fail() {
        let (ended, written) = carry_out(&[
            job("INSERT INTO written VALUES (1)", true),
            job("INSERT INTO written VALUES (2)", true),
        ]);
        assert!(
            ended
                .iter()
                .all(|(outcome, _)| matches!(outcome, Outcome::Failed(_)))
        );
        assert_eq!(written, "");
    }
}
