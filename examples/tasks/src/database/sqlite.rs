//! What is different on SQLite.

use std::path::Path;

use diesel::RunQueryDsl;
use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::sql_types::Bool;
use diesel::sqlite::SqliteConnection;
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig};
use diesel_async::sync_connection_wrapper::SyncConnectionWrapper;
use diesel_async::{AsyncConnection, SimpleAsyncConnection};
use diesel_migrations::embed_migrations;
use futures_util::FutureExt;

use super::migrations::{MigrationError, Migrations};

#[path = "migration_harness.rs"]
pub(super) mod migration_harness;
#[path = "queries.rs"]
pub(super) mod queries;

pub(super) type Connection = SyncConnectionWrapper<SqliteConnection>;
type Backend = diesel::sqlite::Sqlite;
pub(super) type MigrationConnection = SqliteConnection;

const MIGRATIONS: Migrations = Migrations {
    common: embed_migrations!("migrations/sqlite/common"),
    shared: embed_migrations!("migrations/sqlite/shared"),
    apart: embed_migrations!("migrations/sqlite/apart"),
};

const CREATE_MIGRATIONS_TABLE: &str = "
    CREATE TABLE IF NOT EXISTS tasks_migrations (
        name TEXT NOT NULL,
        applied_at INTEGER NOT NULL,
        CONSTRAINT tasks_migrations_pkey PRIMARY KEY (name)
    );
";

/// What every connection is told: to wait for another writer, to keep foreign keys, and that what was acknowledged
/// survives a power cut.
const SET_UP: &str = "PRAGMA busy_timeout = 5000; PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL;";

pub(super) fn manager(path: &Path) -> AsyncDieselConnectionManager<Connection> {
    let mut config = ManagerConfig::default();
    config.custom_setup = Box::new(|file| {
        let file = file.to_owned();
        async move {
            let mut connection = Connection::establish(&file).await?;
            connection
                .batch_execute(SET_UP)
                .await
                .map_err(diesel::ConnectionError::CouldntSetupConfiguration)?;
            Ok(connection)
        }
        .boxed()
    });
    AsyncDieselConnectionManager::new_with_config(path.to_string_lossy(), config)
}

pub(super) fn connect_to_migrate(path: &Path) -> Result<MigrationConnection, MigrationError> {
    let mut connection = diesel::Connection::establish(&path.to_string_lossy())?;
    SimpleConnection::batch_execute(&mut connection, SET_UP)?;
    // Kept in the file: readers and a writer do not wait for each other.
    SimpleConnection::batch_execute(&mut connection, "PRAGMA journal_mode = WAL")?;
    Ok(connection)
}

/// Runs migrations in a transaction that holds the only write lock, so that one process at a time does.
fn in_locked_transaction<R>(
    connection: &mut MigrationConnection,
    work: impl FnOnce(&mut MigrationConnection) -> Result<R, MigrationError>,
) -> Result<R, MigrationError> {
    connection.immediate_transaction(work)
}

/// `table` is a name from this program, never from outside.
fn table_exists(connection: &mut MigrationConnection, table: &str) -> Result<bool, MigrationError> {
    let exists = sql::<Bool>(&format!(
        "EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = '{table}')"
    ));
    Ok(diesel::select(exists).get_result(connection)?)
}
