//! Applies and reverts migrations. Compiled twice, as a module of `postgres` and of `sqlite`, like the
//! queries.

use chrono::{DateTime, Utc};
use diesel::connection::SimpleConnection;
use diesel::prelude::{ExpressionMethods, QueryDsl, RunQueryDsl};
use diesel_migrations::MigrationHarness;

use super::{
    CREATE_CHECKSUMS, MIGRATIONS, MigrationConnection, exists, in_locked_transaction, table_exists,
};
use crate::database::migrations::{
    AppliedMigration, EmbeddedMigration, MigrationError, MigrationStatus,
};
use crate::database::schema::migration_checksums;
use crate::database::sql_types::StoredTime;

/// Applies every pending migration.
pub(crate) fn up(
    connection: &mut MigrationConnection,
    now: DateTime<Utc>,
) -> Result<Vec<String>, MigrationError> {
    // Without the lock, and without a statement that asks for the right to change the schema.
    if status(connection)?.pending.is_empty() {
        return Ok(Vec::new());
    }
    in_locked_transaction(connection, |connection| {
        connection.batch_execute(CREATE_CHECKSUMS)?;
        // Asking makes Diesel create its own table.
        connection
            .applied_migrations()
            .map_err(|error| MigrationError::Failed {
                migration: "set-up".to_owned(),
                error: error.to_string(),
            })?;
        let mut applied = Vec::new();
        // Looked at again under the lock: another process may have been faster.
        for name in status(connection)?.pending {
            let Some(migration) = MIGRATIONS.iter().find(|one| one.to_string() == name) else {
                continue;
            };
            connection
                .run_migration(migration)
                .map_err(|error| MigrationError::Failed {
                    migration: name.clone(),
                    error: error.to_string(),
                })?;
            diesel::insert_into(migration_checksums::table)
                .values((
                    migration_checksums::version.eq(migration.version_text()),
                    migration_checksums::name.eq(&name),
                    migration_checksums::checksum.eq(migration.checksum()),
                    migration_checksums::applied_at.eq(StoredTime(now)),
                ))
                .execute(connection)?;
            applied.push(name);
        }
        Ok(applied)
    })
}

/// Reverts the latest migrations.
pub(crate) fn down(
    connection: &mut MigrationConnection,
    steps: usize,
    force: bool,
) -> Result<Vec<String>, MigrationError> {
    in_locked_transaction(connection, |connection| {
        let mut reverted = Vec::new();
        for applied in status(connection)?.applied.iter().rev().take(steps) {
            let Some(migration) = MIGRATIONS
                .iter()
                .find(|one| one.version_text() == applied.version)
            else {
                return Err(MigrationError::Newer(applied.name.clone()));
            };
            if !force {
                refuse_to_lose_rows(connection, migration)?;
            }
            connection
                .revert_migration(migration)
                .map_err(|error| MigrationError::Failed {
                    migration: migration.to_string(),
                    error: error.to_string(),
                })?;
            diesel::delete(migration_checksums::table.find(&applied.version)).execute(connection)?;
            reverted.push(migration.to_string());
        }
        Ok(reverted)
    })
}

/// Reads which migrations the database has, and holds them against those of this program.
pub(crate) fn status(connection: &mut MigrationConnection) -> Result<MigrationStatus, MigrationError> {
    let rows: Vec<(String, String, String, StoredTime)> =
        if table_exists(connection, "migration_checksums")? {
            migration_checksums::table
                .order(migration_checksums::version)
                .load(connection)?
        } else {
            Vec::new()
        };
    let mut applied = Vec::new();
    for (version, name, checksum, applied_at) in rows {
        match MIGRATIONS.iter().find(|one| one.version_text() == version) {
            None => return Err(MigrationError::Newer(name)),
            Some(migration) if migration.checksum() != checksum => {
                return Err(MigrationError::Edited(name));
            }
            Some(_) => applied.push(AppliedMigration {
                version,
                name,
                applied_at: applied_at.0,
            }),
        }
    }
    let pending = MIGRATIONS
        .iter()
        .filter(|migration| !applied.iter().any(|one| one.version == migration.version_text()))
        .map(ToString::to_string)
        .collect();
    Ok(MigrationStatus { applied, pending })
}

fn refuse_to_lose_rows(
    connection: &mut MigrationConnection,
    migration: &EmbeddedMigration,
) -> Result<(), MigrationError> {
    let would_lose = |table: &str| MigrationError::WouldLose {
        migration: migration.to_string(),
        table: table.to_owned(),
    };
    for table in migration.dropped_tables() {
        if exists(connection, table)? {
            return Err(would_lose(table));
        }
    }
    for (table, column) in migration.dropped_columns() {
        if exists(connection, &format!("{table} WHERE {column} IS NOT NULL"))? {
            return Err(would_lose(&format!("{table}.{column}")));
        }
    }
    Ok(())
}
