//! SQLite: how a connection is made, and the queries that are written differently for it.

use std::error::Error;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use diesel::connection::{Instrumentation, SimpleConnection};
use diesel::expression::BoxableExpression;
use diesel::prelude::{BoolExpressionMethods, Connection as _, ExpressionMethods};
use diesel::sql_types::{BigInt, Bool, Nullable};
use diesel::sqlite::{Sqlite, SqliteConnection};
use diesel_async::sync_connection_wrapper::{SpawnBlocking, SyncConnectionWrapper};
use diesel_async::{AsyncConnection, SimpleAsyncConnection};
use tokio::runtime::Handle;

use super::connection::DatabaseConnection;
use super::many::sqlite::one;
use super::pool::Lease;
use super::rows::{UserEventRow, UserRow};
use super::schema::{user_events, users};
use super::sql_types::StoredUuid;
use super::work::Work;
use super::{DatabaseError, sql_echo};
use crate::domain::{EmailPrefix, EventCursor, Session, SessionId, SigningKeyRecord, User, UserId};

#[path = "queries/mod.rs"]
pub(crate) mod queries;

pub(crate) type Connection = SyncConnectionWrapper<SqliteConnection, OnThisThread>;
pub(crate) type Backend = Sqlite;

/// Has statements executed where they are: on the thread on which [`DatabaseConnection::run`] runs a query. To hand each of
/// them to another thread and back would take longer than most of them do.
pub(crate) struct OnThisThread;

impl SpawnBlocking for OnThisThread {
    fn spawn_blocking<'a, R>(
        &mut self,
        task: impl FnOnce() -> R + Send + 'static,
    ) -> Pin<Box<dyn Future<Output = Result<R, Box<dyn Error + Send + Sync>>> + Send + 'a>>
    where
        R: Send + 'static,
    {
        Box::pin(std::future::ready(Ok(task())))
    }

    fn get_runtime() -> Self {
        Self
    }
}

/// Where a database file is and how its connections are set up.
pub(crate) struct Target {
    pub(crate) path: PathBuf,
    /// How long a statement waits for another process that holds the lock.
    pub(crate) busy_timeout: Duration,
    /// Whether connections may write.
    pub(crate) is_writer: bool,
    pub(crate) echo_sql: bool,
}

impl Target {
    /// Opens a connection that blocks.
    ///
    /// `synchronous=FULL`: what was acknowledged survives a power cut. `secure_delete`: what was deleted is
    /// overwritten. `trusted_schema=OFF`: the schema of a file from elsewhere cannot run functions.
    pub(crate) fn open(&self) -> Result<SqliteConnection, DatabaseError> {
        let unavailable = |error: diesel::ConnectionError| DatabaseError::Unavailable(error.to_string());
        let path = self.path.to_str().ok_or_else(|| {
            DatabaseError::Unavailable("the path of the database is not UTF-8".to_owned())
        })?;
        let mut connection = SqliteConnection::establish(&existing_file(path)).map_err(unavailable)?;
        connection.batch_execute(&format!(
            "PRAGMA busy_timeout = {};
             PRAGMA foreign_keys = ON;
             PRAGMA trusted_schema = OFF;",
            self.busy_timeout.as_millis(),
        ))?;
        if self.is_writer {
            self.switch_to_wal(&mut connection)?;
            connection.batch_execute("PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;")?;
        } else {
            // The mode of the journal is a property of the file, and a matter of those who write to it.
            connection.batch_execute("PRAGMA query_only = ON;")?;
        }
        Ok(connection)
    }

    /// Makes the file use a write-ahead log, if it does not yet. Unlike other statements, this one does not
    /// wait for connections that are just doing the same.
    fn switch_to_wal(&self, connection: &mut SqliteConnection) -> Result<(), DatabaseError> {
        const PAUSE: Duration = Duration::from_millis(10);
        let patience_ends = Instant::now() + self.busy_timeout;
        loop {
            let outcome = connection.batch_execute("PRAGMA journal_mode = WAL;");
            match outcome.map_err(DatabaseError::from) {
                Err(error) if error.is_conflict() && Instant::now() < patience_ends => {
                    std::thread::sleep(PAUSE);
                }
                answer => return answer,
            }
        }
    }

    /// Reads something from the file as it is on the disk now: not through a connection that still holds
    /// a file which was deleted or replaced.
    pub(super) fn probe(&self) -> Result<(), DatabaseError> {
        let mut connection = self.open()?;
        Ok(connection.batch_execute("SELECT count(*) FROM sqlite_schema")?)
    }
}

/// Returns the URI that opens a file only if it is there (<https://sqlite.org/uri.html>). SQLite would make an
/// empty one otherwise, and a database that was moved away would seem to be lost.
fn existing_file(path: &str) -> String {
    let escaped = path.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    format!("file:{escaped}?mode=rw")
}

impl DatabaseConnection for Connection {
    type Target = Target;

    async fn connect(target: &Arc<Target>) -> Result<Self, DatabaseError> {
        let blocking_target = Arc::clone(target);
        let connection = tokio::task::spawn_blocking(move || blocking_target.open())
            .await
            .map_err(|error| DatabaseError::Internal(error.to_string()))??;
        let mut wrapped = Self::new(connection);
        if target.echo_sql {
            let echo: Box<dyn Instrumentation> = Box::new(sql_echo);
            wrapped.set_instrumentation(echo);
        }
        Ok(wrapped)
    }

    async fn ping(&mut self) -> Result<(), DatabaseError> {
        Ok(self.batch_execute("SELECT 1").await?)
    }

    fn is_closed(&mut self) -> bool {
        false
    }

    /// Runs all statements of a query in one go, on a thread that may block. Whoever gives up does not interrupt it: the
    /// connection goes back to the pool when it is done.
    async fn run(
        mut lease: Lease<Self>,
        limit: Duration,
        work: Work<Self>,
    ) -> (Option<Lease<Self>>, Result<(), DatabaseError>) {
        let runtime = Handle::current();
        let span = tracing::Span::current();
        let done = tokio::task::spawn_blocking(move || {
            let _entered = span.enter();
            let outcome = runtime.block_on(work(lease.connection()));
            (lease, outcome)
        });
        match tokio::time::timeout(limit, done).await {
            Ok(Ok((used, outcome))) => (Some(used), outcome),
            // The message of a panic may quote a value; its place has been logged.
            Ok(Err(_)) => (None, Err(DatabaseError::Internal("a query panicked".to_owned()))),
            Err(_) => (None, Err(DatabaseError::TimedOut)),
        }
    }
}

/// Reads a user. The transaction holds the only write lock, so nobody else can change it.
async fn lock_user(tx: &mut Connection, id: UserId) -> Result<Option<User>, DatabaseError> {
    queries::users::get_by_id(tx, &id).await
}

/// Reads a user that is about to be deleted. The transaction holds the only write lock, so nobody else can write rows
/// that refer to it.
async fn lock_user_to_delete(tx: &mut Connection, id: UserId) -> Result<Option<User>, DatabaseError> {
    queries::users::get_by_id(tx, &id).await
}

/// Reads a user. The transaction holds the only write lock, so nobody else can delete it.
async fn keep_user(tx: &mut Connection, id: UserId) -> Result<Option<User>, DatabaseError> {
    queries::users::get_by_id(tx, &id).await
}

/// Writes the users whose id and login names are free, and returns their ids. SQLite takes one at a time, all of them in
/// one go on its thread.
async fn insert_free_users(
    tx: &mut Connection,
    rows: Vec<UserRow>,
) -> Result<Vec<StoredUuid>, DatabaseError> {
    let inserted = tx.spawn_blocking(move |connection| {
        let mut ids = Vec::new();
        for row in rows {
            let id = row.id();
            let insert = diesel::insert_into(users::table)
                .values(row)
                .on_conflict_do_nothing();
            if diesel::RunQueryDsl::execute(insert, connection)? > 0 {
                ids.push(id);
            }
        }
        Ok(ids)
    });
    Ok(inserted.await?)
}

/// Writes events, all of them in one go on the thread of SQLite.
async fn insert_user_events(tx: &mut Connection, rows: Vec<UserEventRow>) -> Result<(), DatabaseError> {
    let inserted = tx.spawn_blocking(move |connection| {
        for row in rows {
            let insert = diesel::insert_into(user_events::table).values(row);
            diesel::RunQueryDsl::execute(insert, connection)?;
        }
        Ok(())
    });
    Ok(inserted.await?)
}

/// Reads a session. The transaction holds the only write lock, so nobody else can change it.
async fn lock_session(tx: &mut Connection, id: SessionId) -> Result<Option<Session>, DatabaseError> {
    queries::sessions::get(tx, &id).await
}

/// Reads a session and its user. The transaction holds the only write lock, so nobody else can change or delete them.
async fn lock_session_with_user(
    tx: &mut Connection,
    id: SessionId,
) -> Result<Option<(Session, User)>, DatabaseError> {
    let found = tx.spawn_blocking(move |sqlite| one::sessions_with_user(sqlite, &id));
    Ok(found.await?)
}

/// Reads the signing keys. The transaction holds the only write lock, so nobody else can change them.
async fn lock_signing_keys(tx: &mut Connection) -> Result<Vec<SigningKeyRecord>, DatabaseError> {
    queries::signing_keys::list(tx, &()).await
}

/// Counts an attempt, in one statement, unless the next one is not allowed yet. Returns no row then.
const COUNT_ATTEMPT: &str = "
    INSERT INTO lockouts (subject, network, failures, counted_from, retry_at, updated_at)
    VALUES (?1, ?2, 1, ?3, ?3 + CASE WHEN 1 >= ?5 THEN ?6 ELSE 0 END, ?3)
    ON CONFLICT (subject, network) DO UPDATE SET
        failures = CASE WHEN counted_from <= ?4 THEN 1 ELSE failures + 1 END,
        counted_from = CASE WHEN counted_from <= ?4 OR counted_from > ?3 THEN ?3 ELSE counted_from END,
        retry_at = ?3 + CASE
            WHEN counted_from <= ?4 THEN CASE WHEN 1 >= ?5 THEN ?6 ELSE 0 END
            WHEN failures + 1 < ?5 THEN 0
            ELSE min(?6 << min(failures + 1 - ?5, 20), ?7)
        END,
        updated_at = ?3
    WHERE failures < ?5 OR retry_at <= ?3 OR retry_at > ?8
    RETURNING last_success_at";

/// The window of events after a number, which is the parameter: those that there are. The counter of the table knows of
/// the events that were removed.
const EVENT_WINDOW: &str = "
    SELECT coalesce(max(seq), 0) + 1 AS window_end,
           coalesce(max(seq), 0) + 1 AS transactions_end,
           0 AS has_held_back,
           (SELECT min(sequence) FROM user_events WHERE sequence >= ?1) AS first_sequence,
           NULL AS overtaken
    FROM sqlite_sequence WHERE name = 'user_events'";

/// Returns the window of the events from a number on. Transactions come one after the other: the last of them ends it.
async fn event_window(
    connection: &mut Connection,
    from: i64,
    _end_at_most: i64,
    _told: i64,
) -> Result<queries::user_events::WindowRow, DatabaseError> {
    let window = diesel::sql_query(EVENT_WINDOW).bind::<BigInt, _>(from);
    Ok(diesel_async::RunQueryDsl::get_result(window, connection).await?)
}

/// Events with the numbers of a window: the number stands for the transaction.
fn in_window(
    cursor: &EventCursor,
) -> Box<dyn BoxableExpression<user_events::table, Sqlite, SqlType = Bool>> {
    let is_late_enough = user_events::sequence.ge(cursor.from);
    Box::new(is_late_enough.and(user_events::sequence.lt(cursor.to)))
}

/// Does nothing: numbers are restored with the events.
pub(crate) async fn adopt_events(_: &mut Connection, (): &()) -> Result<usize, DatabaseError> {
    Ok(0)
}

/// Users whose email begins with a prefix, in the byte order that the unique index has.
fn email_has_prefix(
    prefix: &EmailPrefix,
) -> Box<dyn BoxableExpression<users::table, Sqlite, SqlType = Nullable<Bool>>> {
    let at_least = users::email_normalized.ge(prefix.as_str().to_owned());
    match prefix.upper_bound() {
        Some(bound) => Box::new(at_least.and(users::email_normalized.lt(bound))),
        None => Box::new(at_least),
    }
}

impl Target {
    /// The same file for a reader with little patience: a probe that waits is as good as one that failed.
    pub(super) fn for_probes(&self) -> Self {
        const PATIENCE: Duration = Duration::from_millis(100);
        Self {
            path: self.path.clone(),
            busy_timeout: PATIENCE.min(self.busy_timeout),
            is_writer: false,
            echo_sql: false,
        }
    }

    /// The same file, with more patience: the other processes that migrate are waited for.
    pub(super) fn with_patience(&self) -> Self {
        /// Longer than any migration is expected to take.
        const PATIENCE: Duration = Duration::from_secs(60);
        Self {
            path: self.path.clone(),
            busy_timeout: PATIENCE,
            is_writer: true,
            echo_sql: self.echo_sql,
        }
    }
}

#[cfg(test)]
mod tests {
    use diesel::prelude::{Connection, RunQueryDsl};
    use diesel::sql_types::Bool;
    use diesel::sqlite::SqliteConnection;

    use super::existing_file;

    #[test]
    fn sqlite_is_compiled_as_the_configuration_of_cargo_says() {
        let mut connection = SqliteConnection::establish(":memory:").unwrap();
        let mut check = |option, expected| {
            let question = format!("SELECT sqlite_compileoption_used('{option}')");
            let is_used = diesel::dsl::sql::<Bool>(&question).get_result::<bool>(&mut connection);
            assert_eq!(is_used, Ok(expected), "{option}: see .cargo/config.toml");
        };
        for option in ["ENABLE_QPSG", "THREADSAFE=2", "DEFAULT_MEMSTATUS=0"] {
            check(option, true);
        }
        for option in [
            "ENABLE_MEMORY_MANAGEMENT",
            "ENABLE_FTS3",
            "ENABLE_FTS5",
            "ENABLE_RTREE",
            "ENABLE_DBSTAT_VTAB",
        ] {
            check(option, false);
        }
    }

    #[test]
    fn only_a_file_that_is_there_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("50% of #1?.db");
        let uri = existing_file(path.to_str().unwrap());

        assert!(SqliteConnection::establish(&uri).is_err());
        assert!(!path.exists());
        std::fs::File::create(&path).unwrap();
        assert!(SqliteConnection::establish(&uri).is_ok());
    }
}
