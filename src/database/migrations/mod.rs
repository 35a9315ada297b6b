//! Migrations: applied under a lock, remembered with a checksum, refused when they do not fit.
//!
//! `diesel_migrations` runs them and keeps `__diesel_schema_migrations`; the lock and the table
//! `migration_checksums` are ours. Everything a command does happens in one transaction: several replicas
//! can start at once, and a failed migration leaves nothing behind.

mod postgres;
mod sqlite;

use std::fmt;

use chrono::{DateTime, Utc};
use diesel::backend::Backend;
use diesel::connection::BoxableConnection;
use diesel::migration::{Migration, MigrationMetadata, MigrationName, MigrationVersion};
use ring::digest::{SHA256, digest};

use super::postgres::Connection as PostgresConnection;
use super::sqlite::Target as SqliteTarget;
use super::{Database, DatabaseError};
use crate::clock::Clock;

/// A migration as it was when this program was built.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EmbeddedMigration {
    directory: &'static str,
    up: &'static str,
    down: &'static str,
}

mod embedded {
    use super::EmbeddedMigration;
    include!(concat!(env!("OUT_DIR"), "/migrations.rs"));
}

impl EmbeddedMigration {
    /// The part of the folder's name before the underscore, without hyphens, as Diesel has it.
    pub(crate) fn version_text(&self) -> String {
        let version = self.directory.split('_').next().unwrap_or_default();
        version.replace('-', "")
    }

    /// Tells whether the text of the migration is the one that was applied.
    pub(crate) fn checksum(&self) -> String {
        let text = format!("{}\0{}", self.up, self.down);
        digest(&SHA256, text.as_bytes())
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// The tables that reverting the migration drops, without those that another one takes the name of: SQLite changes a
    /// table by making it anew.
    pub(crate) fn dropped_tables(&self) -> impl Iterator<Item = &'static str> {
        let text = self.down;
        text.lines()
            .filter_map(|line| line.strip_prefix("DROP TABLE "))
            .map(|rest| rest.trim_end_matches(';').trim())
            .filter(move |table| !text.contains(&format!(" RENAME TO {table};")))
    }

    /// The columns that reverting the migration drops, each with its table.
    pub(crate) fn dropped_columns(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.down
            .lines()
            .filter_map(|line| line.strip_prefix("ALTER TABLE ")?.split_once(" DROP COLUMN "))
            .map(|(table, rest)| (table, rest.trim_end_matches(';').trim()))
    }
}

impl fmt::Display for EmbeddedMigration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.directory)
    }
}

impl MigrationName for EmbeddedMigration {
    fn version(&self) -> MigrationVersion<'_> {
        MigrationVersion::from(self.version_text())
    }
}

/// Every migration runs inside the transaction that holds the lock.
struct InTransaction;

impl MigrationMetadata for InTransaction {
    fn run_in_transaction(&self) -> bool {
        true
    }
}

impl<DB: Backend> Migration<DB> for EmbeddedMigration {
    fn run(&self, connection: &mut dyn BoxableConnection<DB>) -> diesel::migration::Result<()> {
        Ok(connection.batch_execute(self.up)?)
    }

    fn revert(&self, connection: &mut dyn BoxableConnection<DB>) -> diesel::migration::Result<()> {
        Ok(connection.batch_execute(self.down)?)
    }

    fn metadata(&self) -> &dyn MigrationMetadata {
        &InTransaction
    }

    fn name(&self) -> &dyn MigrationName {
        self
    }
}

/// A migration that a database has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedMigration {
    /// The version, a date and a number.
    pub version: String,
    /// The name of its folder.
    pub name: String,
    /// When it was applied.
    pub applied_at: DateTime<Utc>,
}

/// Which migrations a database has and which it lacks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MigrationStatus {
    /// Those it has, oldest first.
    pub applied: Vec<AppliedMigration>,
    /// The names of those it lacks, oldest first.
    pub pending: Vec<String>,
}

/// Why migrations were not run.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// The text of an applied migration is not what this program carries.
    #[error("migration {0} was edited after it had been applied")]
    Edited(String),
    /// The database has a migration that this program does not know.
    #[error("the database is newer than this program: it has migration {0}")]
    Newer(String),
    /// Reverting would lose rows.
    #[error(
        "reverting migration {migration} would lose the rows of {table}; repeat with --force to lose them"
    )]
    WouldLose {
        /// The migration.
        migration: String,
        /// The table.
        table: String,
    },
    /// A migration failed; nothing was changed.
    #[error("migration {migration} failed: {error}")]
    Failed {
        /// The migration.
        migration: String,
        /// What went wrong.
        error: String,
    },
    /// The database could not be asked.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl From<diesel::result::Error> for MigrationError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Database(error.into())
    }
}

/// Runs a function of the harness that was compiled for the database at hand, on a connection of its own,
/// where it may block.
macro_rules! on_own_connection {
    ($database:expr, $function:ident ( $($argument:expr),* )) => {
        match &$database.backend {
            super::Backend::Postgres(database) => {
                let connection = database.target.without_limits().connect_in_time().await?;
                in_background(move || {
                    let mut connection = postgres::MigrationConnection::from(connection);
                    postgres::harness::$function(&mut connection, $($argument),*)
                })
                .await
            }
            super::Backend::Sqlite(database) => {
                let target = database.target.with_patience();
                in_background(move || {
                    let mut connection = target.open()?;
                    sqlite::harness::$function(&mut connection, $($argument),*)
                })
                .await
            }
        }
    };
}

async fn in_background<R: Send + 'static>(
    work: impl FnOnce() -> Result<R, MigrationError> + Send + 'static,
) -> Result<R, MigrationError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| DatabaseError::Internal(error.to_string()))?
}

/// Tells which migrations a PostgreSQL database has, and gives the connection back.
pub(super) async fn postgres_status(
    connection: PostgresConnection,
) -> Result<(PostgresConnection, MigrationStatus), MigrationError> {
    in_background(move || {
        let mut connection = postgres::MigrationConnection::from(connection);
        let status = postgres::harness::status(&mut connection)?;
        Ok((connection.into_inner(), status))
    })
    .await
}

/// Tells which migrations an SQLite database has.
pub(super) async fn sqlite_status(target: SqliteTarget) -> Result<MigrationStatus, MigrationError> {
    in_background(move || sqlite::harness::status(&mut target.open()?)).await
}

impl Database {
    /// Applies every pending migration and returns their names. Does nothing, and needs no right to change
    /// the schema, if there is none.
    pub async fn migrate_up(&self, clock: &dyn Clock) -> Result<Vec<String>, MigrationError> {
        let now = clock.now();
        on_own_connection!(self, up(now))
    }

    /// Reverts the latest `steps` migrations, newest first, and returns their names. Refuses to lose rows
    /// unless `force` is set.
    pub async fn migrate_down(&self, steps: usize, force: bool) -> Result<Vec<String>, MigrationError> {
        on_own_connection!(self, down(steps, force))
    }

    /// Tells which migrations the database has, and fails if they do not fit this program.
    pub async fn migration_status(&self) -> Result<MigrationStatus, MigrationError> {
        self.probe().migration_status().await
    }
}
