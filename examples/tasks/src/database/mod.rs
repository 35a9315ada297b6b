//! The database: PostgreSQL or SQLite behind one set of queries, which is compiled for each.

pub(crate) mod migrations;
mod postgres;
pub(crate) mod rows;
mod schema;
mod sql_types;
mod sqlite;

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel_async::pooled_connection::PoolError;
use diesel_async::pooled_connection::bb8::Pool;
use uuid::Uuid;

pub use migrations::MigrationError;
pub(crate) use rows::Departures;
use rows::{NewTask, Position, Task, TaskChange};

use crate::access_tokens::UserId;
use crate::config::{DatabaseSettings, DatabaseUrl};

/// A database and its connections. Cheap to clone.
#[derive(Clone)]
pub struct Database {
    backend: Backend,
    settings: DatabaseSettings,
}

#[derive(Clone)]
enum Backend {
    Postgres(Pool<postgres::Connection>),
    Sqlite(Pool<sqlite::Connection>),
}

/// Why a query failed.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The row refers to a user who is not there.
    #[error("there is no such user")]
    NoSuchUser,
    /// The database cannot be reached, or is busy.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// Anything else: a fault of this service.
    #[error("the database refused a statement: {0}")]
    Internal(String),
}

impl From<DieselError> for DatabaseError {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "Diesel may add kinds of errors, all of which are faults of this service"
    )]
    fn from(error: DieselError) -> Self {
        /// What has no kind of its own: another process holds the lock of the file, or the server is going away.
        const OUTAGES: [&str; 4] = [
            "database is locked",
            "terminating connection",
            "connection closed",
            "the database system is",
        ];
        // Diesel prints the message of the database, never the details that hold the row's values.
        let text = error.to_string();
        match error {
            DieselError::DatabaseError(DatabaseErrorKind::ForeignKeyViolation, _) => Self::NoSuchUser,
            DieselError::DatabaseError(
                DatabaseErrorKind::ClosedConnection
                | DatabaseErrorKind::UnableToSendCommand
                | DatabaseErrorKind::SerializationFailure,
                _,
            ) => Self::Unavailable(text),
            _ if OUTAGES.iter().any(|outage| text.contains(outage)) => Self::Unavailable(text),
            _ => Self::Internal(text),
        }
    }
}

impl From<bb8::RunError<PoolError>> for DatabaseError {
    fn from(error: bb8::RunError<PoolError>) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// Runs a query that was compiled for the database at hand: `run!(self.list(owner, after, limit))`.
macro_rules! run {
    ($database:ident . $query:ident ( $($argument:expr),* )) => {
        match &$database.backend {
            Backend::Postgres(pool) => {
                let mut connection = pool.get().await?;
                postgres::queries::$query(&mut connection, $($argument),*).await
            }
            Backend::Sqlite(pool) => {
                let mut connection = pool.get().await?;
                sqlite::queries::$query(&mut connection, $($argument),*).await
            }
        }
        .map_err(DatabaseError::from)
    };
}

/// Runs a function of the migration harness where it may block, on a connection of its own.
macro_rules! migrate {
    ($database:ident . $function:ident ( $($argument:expr),* )) => {
        match &$database.settings.url {
            DatabaseUrl::Postgres(url) => {
                let mut connection = postgres::connect_to_migrate(url).await?;
                tokio::task::spawn_blocking(move || {
                    postgres::migration_harness::$function(&mut connection, $($argument),*)
                })
                .await
            }
            DatabaseUrl::Sqlite(path) => {
                let path = path.clone();
                tokio::task::spawn_blocking(move || {
                    let mut connection = sqlite::connect_to_migrate(&path)?;
                    sqlite::migration_harness::$function(&mut connection, $($argument),*)
                })
                .await
            }
        }
        .map_err(|error| MigrationError::Failed {
            migration: "running migrations".to_owned(),
            error: error.to_string(),
        })?
    };
}

impl Database {
    /// Prepares the connections. None is opened yet.
    #[must_use]
    pub fn new(settings: &DatabaseSettings) -> Self {
        /// A service of this size is served by few; more would only wait for each other.
        const CONNECTIONS: u32 = 5;
        /// How long a call waits for one.
        const PATIENCE: Duration = Duration::from_secs(5);
        let backend = match &settings.url {
            DatabaseUrl::Postgres(url) => Backend::Postgres(
                Pool::builder()
                    .max_size(CONNECTIONS)
                    .connection_timeout(PATIENCE)
                    .build_unchecked(postgres::manager(url)),
            ),
            DatabaseUrl::Sqlite(path) => Backend::Sqlite(
                Pool::builder()
                    .max_size(CONNECTIONS)
                    .connection_timeout(PATIENCE)
                    .build_unchecked(sqlite::manager(path)),
            ),
        };
        Self {
            backend,
            settings: settings.clone(),
        }
    }

    /// Tells whether the identity service has its users in the same database.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        self.settings.is_shared
    }

    /// Applies every pending migration, and returns their names.
    ///
    /// # Errors
    ///
    /// Why nothing was applied.
    pub async fn migrate_up(&self, now: DateTime<Utc>) -> Result<Vec<String>, MigrationError> {
        let is_shared = self.is_shared();
        migrate!(self.up(is_shared, now))
    }

    /// Reverts the newest migration that is applied, and returns its name. Refuses to lose tasks, or whose they are,
    /// unless `force` is set.
    ///
    /// # Errors
    ///
    /// Why nothing was reverted.
    pub async fn migrate_down(&self, force: bool) -> Result<Option<String>, MigrationError> {
        let is_shared = self.is_shared();
        migrate!(self.down(is_shared, force))
    }

    pub(crate) async fn create(&self, task: NewTask) -> Result<Task, DatabaseError> {
        run!(self.create(task))
    }

    pub(crate) async fn get(&self, owner: UserId, id: Uuid) -> Result<Option<Task>, DatabaseError> {
        run!(self.get(owner, id))
    }

    pub(crate) async fn list(
        &self,
        owner: Option<UserId>,
        after: Option<Position>,
        limit: i64,
    ) -> Result<Vec<Task>, DatabaseError> {
        run!(self.list(owner, after, limit))
    }

    pub(crate) async fn update(
        &self,
        owner: UserId,
        id: Uuid,
        change: TaskChange,
    ) -> Result<Option<Task>, DatabaseError> {
        run!(self.update(owner, id, change))
    }

    pub(crate) async fn delete(&self, owner: UserId, id: Uuid) -> Result<bool, DatabaseError> {
        run!(self.delete(owner, id))
    }

    pub(crate) async fn claim(
        &self,
        owner: UserId,
        id: Uuid,
        now: DateTime<Utc>,
    ) -> Result<Option<Task>, DatabaseError> {
        run!(self.claim(owner, id, now))
    }

    pub(crate) async fn resume_token(&self) -> Result<Option<String>, DatabaseError> {
        run!(self.resume_token())
    }

    pub(crate) async fn owners(
        &self,
        after: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<Uuid>, DatabaseError> {
        run!(self.owners(after, limit))
    }

    pub(crate) async fn follow(
        &self,
        departures: Departures,
        resume_token: Option<String>,
        now: DateTime<Utc>,
        forget_before: DateTime<Utc>,
    ) -> Result<usize, DatabaseError> {
        run!(self.follow(departures, resume_token, now, forget_before))
    }
}
