//! What migrating PostgreSQL does differently.

use diesel::RunQueryDsl;
use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::sql_types::{Bool, Text};
use diesel_async::AsyncPgConnection;
use diesel_async::async_connection_wrapper::AsyncConnectionWrapper;

use super::{EmbeddedMigration, MigrationError, embedded};

#[path = "harness.rs"]
pub(super) mod harness;

/// Diesel's migrations want a connection that blocks.
pub(super) type MigrationConnection = AsyncConnectionWrapper<AsyncPgConnection>;

const MIGRATIONS: &[EmbeddedMigration] = embedded::POSTGRES;

const CREATE_CHECKSUMS: &str = "
    CREATE TABLE IF NOT EXISTS migration_checksums (
        version text NOT NULL,
        name text NOT NULL,
        checksum text NOT NULL,
        applied_at timestamptz NOT NULL,
        CONSTRAINT migration_checksums_pkey PRIMARY KEY (version)
    );
    COMMENT ON TABLE migration_checksums IS 'The migrations that were applied, with digests of their texts.';
";

/// Runs migrations in a transaction that holds an advisory lock, so that one process at a time does. The
/// lock ends with the transaction and so works behind a transaction pooler.
fn in_locked_transaction<R>(
    connection: &mut MigrationConnection,
    work: impl FnOnce(&mut MigrationConnection) -> Result<R, MigrationError>,
) -> Result<R, MigrationError> {
    /// "identity" in ASCII, as a number: a lock that nobody else takes by chance.
    const LOCK: i64 = 0x6964_656E_7469_7479;
    diesel::Connection::transaction(connection, |connection| {
        connection.batch_execute(&format!("SELECT pg_advisory_xact_lock({LOCK})"))?;
        work(connection)
    })
}

fn table_exists(connection: &mut MigrationConnection, table: &str) -> Result<bool, MigrationError> {
    Ok(diesel::select(
        sql::<Bool>("to_regclass(")
            .bind::<Text, _>(table)
            .sql(") IS NOT NULL"),
    )
    .get_result(connection)?)
}

/// `table` is a name from a migration, never from outside.
/// Tells whether there are rows of a table, perhaps under a condition. The text is one of the program's own.
fn exists(connection: &mut MigrationConnection, rows: &str) -> Result<bool, MigrationError> {
    Ok(diesel::select(sql::<Bool>(&format!("EXISTS (SELECT 1 FROM {rows})"))).get_result(connection)?)
}
