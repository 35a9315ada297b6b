//! A sign of life of the database, asked for on a connection of its own, on which it is also asked at the start whether
//! its schema fits.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::timeout;

use super::connection::DatabaseConnection;
use super::migrations::{self, MigrationError, MigrationStatus};
use super::{Backend, Database, DatabaseError, postgres, sqlite};

/// Asks the database for a sign of life, never on the last connection of a pool.
pub struct Probe(Connection);

enum Connection {
    Postgres(Arc<postgres::Target>, Option<Box<postgres::Connection>>),
    Sqlite(Arc<sqlite::Target>),
}

impl Database {
    /// Makes a probe.
    #[must_use]
    pub fn probe(&self) -> Probe {
        Probe(match &self.backend {
            Backend::Postgres(database) => Connection::Postgres(Arc::clone(&database.target), None),
            Backend::Sqlite(database) => Connection::Sqlite(Arc::new(database.target.for_probes())),
        })
    }
}

impl Probe {
    /// Returns the time of the database if it has a clock of its own, which it is asked for at most `limit`.
    pub async fn time(&mut self, limit: Duration) -> Result<Option<DateTime<Utc>>, DatabaseError> {
        match &self.0 {
            Connection::Postgres(..) => self.ask(limit).await,
            Connection::Sqlite(_) => Ok(None),
        }
    }

    /// Tells which migrations the database has, and fails if they do not fit this program.
    pub async fn migration_status(&mut self) -> Result<MigrationStatus, MigrationError> {
        match &mut self.0 {
            Connection::Postgres(target, kept) => {
                let connection = match kept.take() {
                    Some(connection) => *connection,
                    None => target.connect_in_time().await?,
                };
                let (connection, status) = migrations::postgres_status(connection).await?;
                *kept = Some(Box::new(connection));
                Ok(status)
            }
            Connection::Sqlite(target) => migrations::sqlite_status(target.with_patience()).await,
        }
    }

    /// Asks once, for at most `limit`, and returns the time of the database if it has a clock of its own.
    pub async fn ask(&mut self, limit: Duration) -> Result<Option<DateTime<Utc>>, DatabaseError> {
        match &mut self.0 {
            Connection::Postgres(target, kept) => {
                // The connection is put back only after a good answer.
                let previous = kept.take().map(|connection| *connection);
                let (connection, time) = timeout(limit, ask_postgres(target, previous))
                    .await
                    .map_err(|_| DatabaseError::TimedOut)??;
                *kept = Some(Box::new(connection));
                Ok(Some(time))
            }
            Connection::Sqlite(target) => {
                let target = Arc::clone(target);
                let answer = tokio::task::spawn_blocking(move || target.probe());
                timeout(limit, answer)
                    .await
                    .map_err(|_| DatabaseError::TimedOut)?
                    .map_err(|error| DatabaseError::Internal(error.to_string()))??;
                Ok(None)
            }
        }
    }
}

async fn ask_postgres(
    target: &Arc<postgres::Target>,
    previous: Option<postgres::Connection>,
) -> Result<(postgres::Connection, DateTime<Utc>), DatabaseError> {
    if let Some(mut connection) = previous
        && let Ok(time) = postgres::current_time(&mut connection).await
    {
        return Ok((connection, time));
    }
    let mut connection = postgres::Connection::connect(target).await?;
    let time = postgres::current_time(&mut connection).await?;
    Ok((connection, time))
}
