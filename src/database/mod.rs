//! The database: PostgreSQL or embedded SQLite behind one set of queries.
//!
//! Nothing above this module knows Diesel. A repository names a query and its arguments, and the macros
//! `read!` and `transaction!` run the version that was compiled for the database at hand.

mod connection;
mod dispatch;
mod error;
mod event_commits;
mod group_commit;
mod inline_reads;
mod kept;
pub(crate) mod many;
pub mod migrations;
pub(crate) mod pool;
mod pools;
pub(crate) mod postgres;
mod probe;
pub mod relocation;
mod replica;
mod rotation;
mod rows;
mod schema;
mod shared_reads;
mod sql_types;
pub(crate) mod sqlite;
mod tls;
mod together;
pub mod verify;
pub(crate) mod work;
mod written_once;

use std::fs;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use dispatch::{read, read_primary, shared_read, transaction};
pub use error::DatabaseError;
pub(crate) use event_commits::EventCommits;
pub use probe::Probe;

use connection::Query;
use group_commit::GroupCommit;
use inline_reads::InlineReads;
use pool::Pool;
use pools::Pools;
use replica::ReadIndex;
use rotation::Rotations;
use shared_reads::AllSharedReads;
use tracing::Instrument;
use work::{Work, work};

use crate::config::{DatabaseSettings, DatabaseUrl, PoolSettings, PostgresUrl};
use crate::telemetry::DatabaseMetrics;

/// A database and its connection pools. Cheap to clone.
#[derive(Clone)]
pub struct Database {
    pub(crate) backend: Backend,
}

/// Which database it is.
#[derive(Clone)]
pub(crate) enum Backend {
    Postgres(Arc<PostgresDatabase>),
    Sqlite(Arc<SqliteDatabase>),
}

/// A PostgreSQL server, perhaps with a replica.
pub(crate) struct PostgresDatabase {
    pub(crate) pools: Pools<postgres::Connection>,
    pub(crate) shared_reads: AllSharedReads,
    rotations: Rotations,
    replica: Option<ReadIndex>,
    target: Arc<postgres::Target>,
}

/// An SQLite file.
pub(crate) struct SqliteDatabase {
    pub(crate) pools: Pools<sqlite::Connection>,
    pub(crate) inline_reads: InlineReads,
    pub(crate) shared_reads: AllSharedReads,
    group_commit: GroupCommit,
    target: Arc<sqlite::Target>,
}

/// How a connection pool is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolStatus {
    /// The name of the pool.
    pub name: &'static str,
    /// The most connections it may have.
    pub max_size: u32,
    /// The connections it has.
    pub size: u32,
    /// The connections that are idle.
    pub idle: u32,
    /// The calls that are waiting for one.
    pub waiting: u32,
}

/// The kinds of database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseKind {
    /// PostgreSQL.
    Postgres,
    /// SQLite.
    Sqlite,
}

impl Database {
    /// Prepares the pools. Connections are opened in the background; nothing is awaited here.
    pub fn new(settings: &DatabaseSettings, metrics: DatabaseMetrics) -> Result<Self, DatabaseError> {
        let backend = match &settings.url {
            DatabaseUrl::Postgres(url) => {
                Backend::Postgres(Arc::new(PostgresDatabase::new(url, settings, metrics)?))
            }
            DatabaseUrl::Sqlite(path) => {
                create_file(path).map_err(|error| {
                    DatabaseError::Unavailable(format!("{}: {error}", path.display()))
                })?;
                Backend::Sqlite(Arc::new(SqliteDatabase::new(path, settings, metrics)))
            }
        };
        Ok(Self { backend })
    }

    /// Tells which kind of database it is.
    #[must_use]
    pub const fn kind(&self) -> DatabaseKind {
        match &self.backend {
            Backend::Postgres(_) => DatabaseKind::Postgres,
            Backend::Sqlite(_) => DatabaseKind::Sqlite,
        }
    }

    /// Returns a function that tells whether a database server works for this process at the moment. SQLite has none.
    pub(crate) fn server_work(&self) -> Box<dyn Fn() -> bool + Send + Sync> {
        match &self.backend {
            Backend::Postgres(database) => {
                let Pools { writer, reader, .. } = &database.pools;
                let (writer_loans, reader_loans) = (writer.loans(), reader.loans());
                Box::new(move || writer_loans() || reader_loans())
            }
            Backend::Sqlite(_) => Box::new(|| false),
        }
    }

    /// Tells when a transaction of this process has committed events.
    pub(crate) fn event_commits(&self) -> EventCommits {
        match &self.backend {
            Backend::Postgres(database) => database.pools.event_commits.clone(),
            Backend::Sqlite(database) => database.pools.event_commits.clone(),
        }
    }

    /// Tells how the pools are doing.
    #[must_use]
    pub fn pool_status(&self) -> Vec<PoolStatus> {
        match &self.backend {
            Backend::Postgres(database) => {
                let mut pools = vec![database.pools.writer.status()];
                if database.replica.is_some() {
                    pools.push(database.pools.reader.status());
                }
                pools
            }
            Backend::Sqlite(database) => {
                vec![database.pools.writer.status(), database.pools.reader.status()]
            }
        }
    }
}

impl PostgresDatabase {
    fn new(
        url: &PostgresUrl,
        settings: &DatabaseSettings,
        metrics: DatabaseMetrics,
    ) -> Result<Self, DatabaseError> {
        let target_of = |address: &PostgresUrl| {
            postgres::Target::new(
                address.clone(),
                settings.pool.connect_timeout,
                settings.limits,
                settings.echo_sql,
            )
            .map(Arc::new)
            .map_err(|error| DatabaseError::Unavailable(error.to_string()))
        };
        let target = target_of(url)?;
        let writer = Pool::new("writer", Arc::clone(&target), settings.pool);
        let (reader, replica) = match &settings.replica_url {
            Some(replica_url) => (
                Pool::new("reader", target_of(replica_url)?, settings.pool),
                Some(ReadIndex::default()),
            ),
            None => (writer.clone(), None),
        };
        Ok(Self {
            pools: Pools {
                writer,
                reader,
                operation_timeout: settings.limits.statement_timeout + MARGIN,
                metrics,
                event_commits: EventCommits::default(),
            },
            shared_reads: AllSharedReads::new(SHARED_QUERIES),
            rotations: rotation::rotations(),
            replica,
            target,
        })
    }

    /// Runs a query that only reads: on the replica if it has caught up with everything that was committed
    /// before this call, otherwise on the primary.
    pub(crate) async fn read<A, R, Q>(&self, query: Q, arguments: A) -> Result<R, DatabaseError>
    where
        A: Send + Sync + 'static,
        R: Send + 'static,
        Q: for<'r> Query<'r, postgres::Connection, A, R> + Copy + Send + Sync + 'static,
    {
        let (work, answer) = work(query, Arc::new(arguments));
        self.do_on_replica_or_primary(work).await?;
        answer.take()
    }

    async fn do_on_replica_or_primary(
        &self,
        work: Work<postgres::Connection>,
    ) -> Result<(), DatabaseError> {
        if let Some(index) = &self.replica {
            if index.has_caught_up(&self.pools).await? {
                let reader = &self.pools.reader;
                match self.pools.do_on(reader, Arc::clone(&work)).await {
                    Err(error) if error.is_of_connection() => index.note_silence(&error),
                    outcome => {
                        index.note_answer();
                        self.pools.metrics.count_read("replica");
                        return outcome;
                    }
                }
            }
            self.pools.metrics.count_read("primary");
        }
        self.pools.do_on(&self.pools.writer, work).await
    }

    /// Runs a query that only reads on the primary, where transactions run.
    pub(crate) async fn read_primary<A, R, Q>(&self, query: Q, arguments: A) -> Result<R, DatabaseError>
    where
        A: Send + Sync + 'static,
        R: Send + 'static,
        Q: for<'r> Query<'r, postgres::Connection, A, R> + Copy + Send + Sync + 'static,
    {
        let writer = &self.pools.writer;
        self.pools.read_on(writer, query, Arc::new(arguments)).await
    }

    /// Does work in a transaction: all of it, or nothing. It is tried again as [`Pools::transaction`] says.
    ///
    /// Once it has begun it runs to its end in a task of its own: a caller that goes away cannot leave it half done on a
    /// connection of the pool.
    pub(crate) async fn commit(
        self: &Arc<Self>,
        name: &'static str,
        work: Work<postgres::Connection>,
    ) -> Result<(), DatabaseError> {
        let lease = self.pools.writer.acquire().await?;
        let this = Arc::clone(self);
        let transaction = async move { this.pools.transaction(name, lease, work).await };
        tokio::spawn(transaction.in_current_span())
            .await
            // The message of a panic may quote a value; its place has been logged.
            .unwrap_or_else(|_| Err(DatabaseError::Internal("a transaction panicked".to_owned())))
    }
}

impl SqliteDatabase {
    fn new(path: &Path, settings: &DatabaseSettings, metrics: DatabaseMetrics) -> Self {
        let target_of = |is_writer| sqlite::Target {
            path: path.to_owned(),
            busy_timeout: settings.limits.busy_timeout,
            is_writer,
            echo_sql: settings.echo_sql,
        };
        let impatient_target = sqlite::Target {
            busy_timeout: Duration::ZERO,
            ..target_of(false)
        };
        // SQLite has one writer at a time; a second connection would only wait for the first.
        let one_connection = PoolSettings {
            min_idle: 1,
            max_size: 1,
            ..settings.pool
        };
        let target = Arc::new(target_of(true));
        let writer = Pool::new("writer", Arc::clone(&target), one_connection);
        Self {
            group_commit: GroupCommit::new(&writer),
            pools: Pools {
                writer,
                reader: Pool::new("reader", Arc::new(target_of(false)), settings.pool),
                operation_timeout: settings.limits.busy_timeout + MARGIN,
                metrics,
                event_commits: EventCommits::default(),
            },
            inline_reads: InlineReads::new(impatient_target, settings.pool),
            shared_reads: AllSharedReads::new(SHARED_QUERIES),
            target,
        }
    }

    /// Runs a query that only reads.
    pub(crate) async fn read<A, R, Q>(&self, query: Q, arguments: A) -> Result<R, DatabaseError>
    where
        A: Send + Sync + 'static,
        R: Send + 'static,
        Q: for<'r> Query<'r, sqlite::Connection, A, R> + Copy + Send + Sync + 'static,
    {
        let reader = &self.pools.reader;
        self.pools.read_on(reader, query, Arc::new(arguments)).await
    }

    /// Runs a query that only reads. There is nothing but the primary.
    pub(crate) async fn read_primary<A, R, Q>(&self, query: Q, arguments: A) -> Result<R, DatabaseError>
    where
        A: Send + Sync + 'static,
        R: Send + 'static,
        Q: for<'r> Query<'r, sqlite::Connection, A, R> + Copy + Send + Sync + 'static,
    {
        self.read(query, arguments).await
    }
}

/// How many queries of one kind that reads share are under way at the same time. With more of them each has fewer keys,
/// and costs the database as much.
const SHARED_QUERIES: usize = 1;

/// How much longer than the database's own limit an operation may take before its connection counts as
/// dead: enough for the answer to travel.
const MARGIN: Duration = Duration::from_secs(1);

/// Creates the file and its folder, readable by nobody else, if they are not there.
fn create_file(path: &Path) -> std::io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    fs::OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
        .map(drop)
}

/// Logs the statement of a query, without its values.
#[expect(clippy::needless_pass_by_value, reason = "the form that Diesel asks for")]
pub(crate) fn sql_echo(event: diesel::connection::InstrumentationEvent<'_>) {
    if let diesel::connection::InstrumentationEvent::StartQuery { query, .. } = event {
        let text = query.to_string();
        // Diesel prints the values after this mark.
        let statement = text.split(" -- binds: ").next().unwrap_or_default();
        tracing::info!(target: "identity::sql", statement);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::{Backend, Database};
    use crate::config::{Settings, Sources};
    use crate::telemetry::DatabaseMetrics;

    /// Prepares the pools of a database, with settings of its own.
    pub(super) fn database(url: &str, own: &[(&str, &str)]) -> Database {
        let master_key = "aWRlbnRpdHkgdGVzdHMgdXNlIHRoaXMga2V5IG9ubHk=";
        let usual = [("DATABASE_URL", url), ("IDENTITY_MASTER_KEY", master_key)];
        let settings = Settings::read(&Sources::from_pairs(&[&usual, own].concat())).unwrap();
        Database::new(&settings.database, DatabaseMetrics::default()).unwrap()
    }

    #[tokio::test]
    async fn a_database_server_works_while_a_connection_to_it_is_in_use() {
        // Nobody listens there, and a connection is waited for.
        let database = database("postgres://nobody@127.0.0.1:1/nothing?sslmode=disable", &[]);
        let is_at_work = database.server_work();
        let Backend::Postgres(postgres) = &database.backend else {
            panic!("another kind");
        };
        assert!(!is_at_work());
        for pool in [&postgres.pools.writer, &postgres.pools.reader] {
            {
                let mut lease = pin!(pool.acquire());
                let mut context = Context::from_waker(Waker::noop());
                assert!(lease.as_mut().poll(&mut context).is_pending());
                assert!(is_at_work());
            }
            assert!(!is_at_work());
        }
    }

    #[tokio::test]
    async fn there_is_no_server_behind_sqlite() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("identity.db");
        let database = database(&format!("sqlite://{}", file.display()), &[]);
        let is_at_work = database.server_work();
        let Backend::Sqlite(sqlite) = &database.backend else {
            panic!("another kind");
        };
        let _lease = sqlite.pools.reader.acquire().await.unwrap();
        assert!(!is_at_work());
    }
}
