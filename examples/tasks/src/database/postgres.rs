//! What is different on PostgreSQL.
//!
//! Connections are not encrypted: the database is on the same machine, or behind something that secures the network. A
//! service that is more than an example does what `src/database/tls.rs` of identity does.

use diesel::RunQueryDsl;
use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::sql_types::Bool;
use diesel_async::async_connection_wrapper::AsyncConnectionWrapper;
use diesel_async::pooled_connection::AsyncDieselConnectionManager;
use diesel_async::{AsyncConnection, AsyncPgConnection};
use diesel_migrations::embed_migrations;

use super::migrations::{MigrationError, Migrations};

#[path = "migration_harness.rs"]
pub(super) mod migration_harness;
#[path = "queries.rs"]
pub(super) mod queries;

pub(super) type Connection = AsyncPgConnection;
type Backend = diesel::pg::Pg;
/// Diesel's migrations want a connection that blocks.
pub(super) type MigrationConnection = AsyncConnectionWrapper<AsyncPgConnection>;

const MIGRATIONS: Migrations = Migrations {
    common: embed_migrations!("migrations/postgres/common"),
    shared: embed_migrations!("migrations/postgres/shared"),
    apart: embed_migrations!("migrations/postgres/apart"),
};

const CREATE_MIGRATIONS_TABLE: &str = "
    CREATE TABLE IF NOT EXISTS tasks_migrations (
        name text NOT NULL,
        applied_at timestamptz NOT NULL,
        CONSTRAINT tasks_migrations_pkey PRIMARY KEY (name)
    );
    COMMENT ON TABLE tasks_migrations IS 'The migrations of the task service that were applied.';
";

pub(super) fn manager(url: &str) -> AsyncDieselConnectionManager<Connection> {
    AsyncDieselConnectionManager::new(url)
}

pub(super) async fn connect_to_migrate(url: &str) -> Result<MigrationConnection, MigrationError> {
    let connection = Connection::establish(url).await?;
    Ok(MigrationConnection::from(connection))
}

/// Runs migrations in a transaction that holds an advisory lock, so that one process at a time does.
fn in_locked_transaction<R>(
    connection: &mut MigrationConnection,
    work: impl FnOnce(&mut MigrationConnection) -> Result<R, MigrationError>,
) -> Result<R, MigrationError> {
    /// "tasks" in ASCII, as a number: a lock that nobody else takes by chance.
    const LOCK: i64 = 0x74_6173_6B73;
    diesel::Connection::transaction(connection, |connection| {
        connection.batch_execute(&format!("SELECT pg_advisory_xact_lock({LOCK})"))?;
        work(connection)
    })
}

/// `table` is a name from this program, never from outside.
fn table_exists(connection: &mut MigrationConnection, table: &str) -> Result<bool, MigrationError> {
    let exists = sql::<Bool>(&format!("to_regclass('{table}') IS NOT NULL"));
    Ok(diesel::select(exists).get_result(connection)?)
}
