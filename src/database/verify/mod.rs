//! Holds the live schema against what it should be, object by object.
//!
//! What it should be is written down in `schema_postgres.txt` and `schema_sqlite.txt`, a line for each
//! object; a test holds these files against what the migrations make.

mod postgres;
mod sqlite;

use std::collections::BTreeSet;

use super::migrations::MigrationError;
use super::{Backend, Database, DatabaseError, DatabaseKind};

const EXPECTED_POSTGRES: &str = include_str!("schema_postgres.txt");
const EXPECTED_SQLITE: &str = include_str!("schema_sqlite.txt");

/// Whether an object of the schema is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// It is there, as it should be.
    Found(String),
    /// It should be there, and is not, or is different.
    Missing(String),
    /// It is there and need not be.
    Unexpected(String),
}

impl Database {
    /// Describes every table, column, index, constraint, trigger, function and type of the live schema, a
    /// line each, in a fixed order.
    pub async fn describe_schema(&self) -> Result<Vec<String>, MigrationError> {
        let mut lines = match &self.backend {
            Backend::Postgres(database) => {
                let mut connection = database.target.without_limits().connect_in_time().await?;
                postgres::describe(&mut connection).await?
            }
            Backend::Sqlite(database) => {
                let target = database.target.with_patience();
                tokio::task::spawn_blocking(move || sqlite::describe(&mut target.open()?))
                    .await
                    .map_err(|error| DatabaseError::Internal(error.to_string()))??
            }
        };
        lines.sort();
        Ok(lines)
    }

    /// Compares the live schema with what it should be.
    pub async fn verify_schema(&self) -> Result<Vec<Finding>, MigrationError> {
        let expected: BTreeSet<&str> = match self.kind() {
            DatabaseKind::Postgres => EXPECTED_POSTGRES,
            DatabaseKind::Sqlite => EXPECTED_SQLITE,
        }
        .lines()
        .collect();
        let live = self.describe_schema().await?;
        let mut findings: Vec<Finding> = expected
            .iter()
            .map(|line| {
                if live.iter().any(|one| one == line) {
                    Finding::Found((*line).to_owned())
                } else {
                    Finding::Missing((*line).to_owned())
                }
            })
            .collect();
        findings.extend(
            live.into_iter()
                .filter(|line| !expected.contains(line.as_str()))
                .map(Finding::Unexpected),
        );
        Ok(findings)
    }
}
