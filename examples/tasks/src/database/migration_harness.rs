//! Applies and reverts migrations. Compiled twice, as a module of `postgres` and of `sqlite`, like the queries.

use chrono::{DateTime, Utc};
use diesel::connection::SimpleConnection;
use diesel::prelude::{ExpressionMethods, QueryDsl, RunQueryDsl};

use super::{
    Backend, CREATE_MIGRATIONS_TABLE, MIGRATIONS, MigrationConnection, in_locked_transaction,
    table_exists,
};
use crate::database::migrations::MigrationError;
use crate::database::schema::{tasks, tasks_migrations};
use crate::database::sql_types::StoredTime;

/// Applies every pending migration, and returns their names.
pub(crate) fn up(
    connection: &mut MigrationConnection,
    is_shared: bool,
    now: DateTime<Utc>,
) -> Result<Vec<String>, MigrationError> {
    let migrations = MIGRATIONS.list::<Backend>(is_shared)?;
    in_locked_transaction(connection, |connection| {
        if is_shared && !table_exists(connection, "users")? {
            return Err(MigrationError::NoUsers);
        }
        connection.batch_execute(CREATE_MIGRATIONS_TABLE)?;
        let done = applied(connection)?;
        let names: Vec<String> = migrations.iter().map(|one| one.name().to_string()).collect();
        if let Some(unknown) = done.iter().find(|name| !names.contains(name)) {
            return Err(MigrationError::Unknown(unknown.clone()));
        }
        let mut newly_applied = Vec::new();
        for (migration, name) in migrations.iter().zip(names) {
            if done.contains(&name) {
                continue;
            }
            migration.run(connection).map_err(|error| failed(&name, error))?;
            diesel::insert_into(tasks_migrations::table)
                .values((
                    tasks_migrations::name.eq(&name),
                    tasks_migrations::applied_at.eq(StoredTime(now)),
                ))
                .execute(connection)?;
            newly_applied.push(name);
        }
        Ok(newly_applied)
    })
}

/// Reverts the newest migration that is applied, and returns its name. Refuses to lose tasks, or whose they are,
/// unless `force` is set.
pub(crate) fn down(
    connection: &mut MigrationConnection,
    is_shared: bool,
    force: bool,
) -> Result<Option<String>, MigrationError> {
    let migrations = MIGRATIONS.list::<Backend>(is_shared)?;
    in_locked_transaction(connection, |connection| {
        connection.batch_execute(CREATE_MIGRATIONS_TABLE)?;
        let Some(name) = applied(connection)?.pop() else {
            return Ok(None);
        };
        let migration = migrations
            .iter()
            .find(|one| one.name().to_string() == name)
            .ok_or_else(|| MigrationError::Unknown(name.clone()))?;
        if !force && let Some(what) = losses(connection, &name)? {
            return Err(MigrationError::WouldLose {
                migration: name,
                what,
            });
        }
        migration
            .revert(connection)
            .map_err(|error| failed(&name, error))?;
        diesel::delete(tasks_migrations::table.find(&name)).execute(connection)?;
        Ok(Some(name))
    })
}

/// Reads the names of the migrations that are applied, oldest first.
fn applied(connection: &mut MigrationConnection) -> Result<Vec<String>, MigrationError> {
    Ok(tasks_migrations::table
        .order(tasks_migrations::name)
        .select(tasks_migrations::name)
        .load(connection)?)
}

/// Says what reverting a migration would lose.
fn losses(
    connection: &mut MigrationConnection,
    migration: &str,
) -> Result<Option<&'static str>, MigrationError> {
    let (count, what) = if migration.contains("_add_owner_") {
        let owned = tasks::table.filter(tasks::user_id.is_not_null()).count();
        (owned.get_result::<i64>(connection)?, "the owners of tasks")
    } else if migration.ends_with("_create_tasks") {
        (tasks::table.count().get_result::<i64>(connection)?, "tasks")
    } else {
        return Ok(None);
    };
    Ok((count > 0).then_some(what))
}

#[expect(clippy::needless_pass_by_value, reason = "the form of `map_err`")]
fn failed(migration: &str, error: Box<dyn std::error::Error + Send + Sync>) -> MigrationError {
    MigrationError::Failed {
        migration: migration.to_owned(),
        error: error.to_string(),
    }
}
