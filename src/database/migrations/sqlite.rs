//! What migrating SQLite does differently.

use diesel::RunQueryDsl;
use diesel::dsl::sql;
use diesel::sql_types::{Bool, Text};
use diesel::sqlite::SqliteConnection;

use super::{EmbeddedMigration, MigrationError, embedded};

#[path = "harness.rs"]
pub(super) mod harness;

pub(super) type MigrationConnection = SqliteConnection;

const MIGRATIONS: &[EmbeddedMigration] = embedded::SQLITE;

const CREATE_CHECKSUMS: &str = "
    CREATE TABLE IF NOT EXISTS migration_checksums (
        version TEXT NOT NULL,
        name TEXT NOT NULL,
        checksum TEXT NOT NULL,
        applied_at INTEGER NOT NULL,
        CONSTRAINT migration_checksums_pkey PRIMARY KEY (version)
    );
";

/// Runs migrations in a transaction that holds the only write lock, so that one process at a time does.
fn in_locked_transaction<R>(
    connection: &mut MigrationConnection,
    work: impl FnOnce(&mut MigrationConnection) -> Result<R, MigrationError>,
) -> Result<R, MigrationError> {
    connection.immediate_transaction(work)
}

fn table_exists(connection: &mut MigrationConnection, table: &str) -> Result<bool, MigrationError> {
    Ok(diesel::select(
        sql::<Bool>("EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ")
            .bind::<Text, _>(table)
            .sql(")"),
    )
    .get_result(connection)?)
}

/// `table` is a name from a migration, never from outside.
/// Tells whether there are rows of a table, perhaps under a condition. The text is one of the program's own.
fn exists(connection: &mut MigrationConnection, rows: &str) -> Result<bool, MigrationError> {
    Ok(diesel::select(sql::<Bool>(&format!("EXISTS (SELECT 1 FROM {rows})"))).get_result(connection)?)
}
