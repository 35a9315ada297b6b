//! Migrations: applied and reverted under a lock, and remembered in a table of this service's own, so that it can share
//! a database with the identity service, which remembers its own.

use diesel::backend::Backend;
use diesel::migration::{Migration, MigrationSource};
use diesel_migrations::EmbeddedMigrations;

/// The migrations of one database.
pub(super) struct Migrations {
    /// What is always applied, first.
    pub(super) common: EmbeddedMigrations,
    /// What follows where the identity service has its users in the same database.
    pub(super) shared: EmbeddedMigrations,
    /// What follows where it has not.
    pub(super) apart: EmbeddedMigrations,
}

impl Migrations {
    /// Returns the migrations, oldest first.
    pub(super) fn list<DB: Backend>(
        &self,
        is_shared: bool,
    ) -> Result<Vec<Box<dyn Migration<DB>>>, MigrationError> {
        let rest = if is_shared { &self.shared } else { &self.apart };
        let mut migrations = Vec::new();
        for source in [&self.common, rest] {
            let found = MigrationSource::<DB>::migrations(source);
            migrations.extend(found.map_err(|error| MigrationError::Failed {
                migration: "the list of migrations".to_owned(),
                error: error.to_string(),
            })?);
        }
        migrations.sort_by_key(|migration| migration.name().to_string());
        Ok(migrations)
    }
}

/// Why migrations were not run. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// The database has a migration that does not belong to these settings.
    #[error(
        "the database has migration {0}, which is not one of this program with this TASKS_SHARES_DATABASE"
    )]
    Unknown(String),
    /// The identity service has no users in the database that it should share.
    #[error("TASKS_SHARES_DATABASE is on, but the identity service has no table users in this database")]
    NoUsers,
    /// Reverting would lose something.
    #[error("reverting migration {migration} would lose {what}; repeat with --force to lose them")]
    WouldLose {
        /// The migration.
        migration: String,
        /// What would be lost.
        what: &'static str,
    },
    /// A migration failed.
    #[error("migration {migration} failed: {error}")]
    Failed {
        /// The migration.
        migration: String,
        /// What went wrong.
        error: String,
    },
    /// The database cannot be reached.
    #[error("the database cannot be reached: {0}")]
    Unreachable(#[from] diesel::ConnectionError),
    /// The database did not do what it was asked to.
    #[error(transparent)]
    Database(#[from] diesel::result::Error),
}
