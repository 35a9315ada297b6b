//! Transactions of SQLite that share a commit.
//!
//! SQLite has one writer, and what a transaction costs is mostly its commit, which waits for the disk. Transactions that
//! wait at the same moment ([`super::together`]) are carried out one after the other, each within a savepoint of its own,
//! and committed together. One that fails is undone to its savepoint, and the others do not notice; nobody is answered
//! before the commit. Where anything but a transaction itself fails, all are undone and each is carried out alone.
//!
//! Those that follow each other stay on one thread, which may block: to hand each batch to a thread and hear of it from
//! there would take as long as some of its transactions do.

use std::sync::Arc;

use diesel::connection::SimpleConnection;
use tokio::time::{Instant, timeout};
use tracing::{Instrument, Span};

use super::event_commits::{EventCommits, noting_events};
use super::pool::{Pool, Waiting};
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
            blocks: true,
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
        let limit = self.pools.writer.patience() + self.pools.operation_timeout;
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
            // Of one that has not ended by then, nobody knows what becomes of it.
            let called = timeout(limit, self.group_commit.0.call(job, carry_out)).await;
            let error = match called.unwrap_or(Err(DatabaseError::TimedOut))? {
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
    let mut lease = match pools.writer.acquire_uncounted().await {
        Ok(lease) => lease,
        Err(error) => return names.iter().map(|_| Err(error.clone())).collect(),
    };
    for job in &mut jobs {
        job.waiting = None;
    }
    // What ends without being marked ready is closed.
    lease.mark_busy();
    let mut session = Session {
        connection: lease.connection(),
        is_usable: true,
    };
    let ended = session.group(&jobs).await;
    if session.is_usable {
        lease.mark_ready();
    }
    drop(lease);
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

/// The connection while transactions are carried out.
struct Session<'a> {
    connection: &'a mut Connection,
    is_usable: bool,
}

impl Session<'_> {
    async fn group(&mut self, jobs: &[Job]) -> Vec<Ended> {
        if jobs.len() > 1
            && let Some(ended) = self.together(jobs).await
        {
            return ended;
        }
        let mut ended = Vec::with_capacity(jobs.len());
        for job in jobs {
            ended.push(self.alone(job).await);
        }
        ended
    }

    /// Carries out one transaction.
    async fn alone(&mut self, job: &Job) -> Ended {
        if !self.is_usable {
            let error = DatabaseError::Unavailable("the connection was given up".to_owned());
            return (Outcome::NothingDone(error), false);
        }
        if let Err(error) = self.begin().await {
            return (Outcome::before_commit(error), false);
        }
        match self.run(job).await {
            Ok(has_events) => (self.commit().await, has_events),
            Err(error) => {
                self.rollback().await;
                (Outcome::before_commit(error), false)
            }
        }
    }

    /// Carries out several transactions with one commit, unless something gets in the way that is not one of them. All
    /// are undone then.
    async fn together(&mut self, jobs: &[Job]) -> Option<Vec<Ended>> {
        if let Err(error) = self.begin().await {
            let failed = || (Outcome::before_commit(error.clone()), false);
            return Some(jobs.iter().map(|_| failed()).collect());
        }
        let mut outcomes = Vec::with_capacity(jobs.len());
        for job in jobs {
            let Ok(outcome) = self.in_savepoint(job).await else {
                self.rollback().await;
                return None;
            };
            outcomes.push(outcome);
        }
        if outcomes.iter().all(Result::is_err) {
            self.rollback().await;
        }
        let commit = if outcomes.iter().any(Result::is_ok) {
            self.commit().await
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
    async fn in_savepoint(&mut self, job: &Job) -> Result<Result<bool, DatabaseError>, DatabaseError> {
        self.execute("SAVEPOINT one").await?;
        let outcome = self.run(job).await;
        if outcome.is_err() {
            self.execute("ROLLBACK TO one").await?;
        }
        // Where an error has ended the whole transaction, there is no savepoint any more.
        self.execute("RELEASE one").await?;
        Ok(outcome)
    }

    /// Runs the queries of a transaction, and tells whether they wrote events.
    async fn run(&mut self, job: &Job) -> Result<bool, DatabaseError> {
        let queries = noting_events((job.work)(self.connection));
        let (outcome, has_events) = queries.instrument(job.span.clone()).await;
        outcome.map(|()| has_events)
    }

    async fn begin(&mut self) -> Result<(), DatabaseError> {
        // It takes the write lock at once: a transaction that reads first never has to give up later.
        let begun = self.execute("BEGIN IMMEDIATE").await;
        if begun.as_ref().is_err_and(DatabaseError::is_of_connection) {
            self.is_usable = false;
        }
        begun
    }

    async fn commit(&mut self) -> Outcome {
        match self.execute("COMMIT").await {
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

    async fn rollback(&mut self) {
        /// What SQLite says where an error, such as a full disk, has ended the transaction already.
        const ENDED: &str = "no transaction is active";
        if let Err(error) = self.execute("ROLLBACK").await
            && !error.to_string().contains(ENDED)
        {
            self.is_usable = false;
        }
    }

    async fn execute(&mut self, statement: &'static str) -> Result<(), DatabaseError> {
        let executed = self
            .connection
            .spawn_blocking(|sqlite| sqlite.batch_execute(statement));
        Ok(executed.await?)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::{Arc, Mutex, mpsc};

    use diesel::connection::SimpleConnection;
    use diesel::dsl::sql;
    use diesel::prelude::{Connection as _, RunQueryDsl};
    use diesel::sql_types::Text;
    use diesel::sqlite::SqliteConnection;
    use tracing::Span;

    use super::super::event_commits::note_event;
    use super::{Connection, DatabaseError, Ended, Job, Outcome, Session, SqliteDatabase, Work};
    use crate::database::Backend;
    use crate::database::tests::database;

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
    async fn carry_out(jobs: &[Job]) -> (Vec<Ended>, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.db").to_str().unwrap().to_owned();
        let mut sqlite = SqliteConnection::establish(&path).unwrap();
        sqlite
            .batch_execute("CREATE TABLE written (number INTEGER PRIMARY KEY)")
            .unwrap();
        let mut connection = Connection::new(sqlite);
        let mut session = Session {
            connection: &mut connection,
            is_usable: true,
        };
        let ended = session.group(jobs).await;
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

    #[tokio::test]
    async fn one_that_fails_is_undone_and_the_others_are_not() {
        let (ended, written) = carry_out(&[
            job("INSERT INTO written VALUES (1)", false),
            job("INSERT INTO written VALUES (2)", true),
            job("INSERT INTO written VALUES (1)", false),
            job("INSERT INTO written VALUES (3)", false),
        ])
        .await;
        assert_eq!(labels(&ended), ["committed", "failed", "failed", "committed"]);
        assert_eq!(written, "1,3");
    }

    /// As a disk does that is full.
    #[tokio::test]
    async fn one_that_ends_the_transaction_of_all_takes_nobody_along() {
        let (ended, written) = carry_out(&[
            job("INSERT INTO written VALUES (1)", false),
            job("INSERT INTO written VALUES (2); ROLLBACK", true),
            job("INSERT INTO written VALUES (3)", false),
        ])
        .await;
        assert_eq!(labels(&ended), ["committed", "failed", "committed"]);
        assert_eq!(written, "1,3");
    }

    #[tokio::test]
    async fn nothing_is_committed_where_all_fail() {
        let (ended, written) = carry_out(&[
            job("INSERT INTO written VALUES (1)", true),
            job("INSERT INTO written VALUES (2)", true),
        ])
        .await;
        assert!(
            ended
                .iter()
                .all(|(outcome, _)| matches!(outcome, Outcome::Failed(_)))
        );
        assert_eq!(written, "");
    }

    /// Returns a database that is not waited for for long.
    fn sqlite(folder: &Path) -> Arc<SqliteDatabase> {
        let url = format!("sqlite://{}", folder.join("test.db").display());
        let impatient = [
            ("IDENTITY_DATABASE_BUSY_TIMEOUT", "1ms"),
            ("IDENTITY_DATABASE_POOL_ACQUIRE_TIMEOUT", "500ms"),
        ];
        match database(&url, &impatient).backend {
            Backend::Sqlite(sqlite) => sqlite,
            Backend::Postgres(_) => panic!("another kind"),
        }
    }

    fn nothing() -> Work<Connection> {
        Arc::new(|_| Box::pin(async { Ok(()) }))
    }

    /// As where the disk does not answer. The runtime has one thread here, which is free all the while.
    #[tokio::test]
    async fn one_that_does_not_end_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let sqlite = sqlite(folder.path());
        let (end, ends) = mpsc::channel::<()>();
        let held = Arc::new(Mutex::new(ends));
        let work: Work<Connection> = Arc::new(move |_| {
            let _ = held.lock().unwrap().recv();
            Box::pin(async { Ok(()) })
        });
        let given_up = sqlite.commit("test", work).await;
        assert!(matches!(given_up, Err(DatabaseError::TimedOut)), "{given_up:?}");

        // It ends after all, and the next ones are carried out.
        drop(end);
        sqlite.commit("test", nothing()).await.unwrap();
    }

    #[tokio::test]
    async fn after_one_that_panics_the_next_ones_are_carried_out() {
        let folder = tempfile::tempdir().unwrap();
        let sqlite = sqlite(folder.path());
        let work: Work<Connection> = Arc::new(|_| panic!("as a bug would"));
        let failed = sqlite.commit("test", work).await;
        assert!(matches!(failed, Err(DatabaseError::Internal(_))), "{failed:?}");
        sqlite.commit("test", nothing()).await.unwrap();
    }
}
