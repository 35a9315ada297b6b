//! What the machine allows, measured in the same run: what a service could be as fast as, and not faster.

pub mod bare_exchange;
pub mod hashing;
pub mod no_op;
pub mod postgres;
pub mod sqlite;

use std::time::Duration;

use super::databases::{Database, Kind};
use super::settings;

/// How often per second a database makes a change of one row durable, with this many connections that each
/// commit one change after the other. SQLite has one writer, however many want to write.
pub async fn commits_per_second(database: &Database, connections: usize, span: Duration) -> f64 {
    match database.kind {
        Kind::Sqlite => sqlite::commits_per_second(database, span).await,
        Kind::Postgres => postgres::commits_per_second(database, connections, span).await,
    }
}

/// How often per second a database exchanges a refresh token by itself, durably, with this many connections that each do
/// so for a session of their own: the token is marked, the session is moved on, and the next token is written, on the
/// tables of the service with all their indexes and references, and without looking at anything first. On PostgreSQL that
/// is one statement, on SQLite a transaction of the one writer there is.
pub async fn exchanges_per_second(database: &Database, connections: usize, span: Duration) -> f64 {
    match database.kind {
        Kind::Sqlite => sqlite::exchanges_per_second(database, span).await,
        Kind::Postgres => postgres::exchanges_per_second(database, connections, 1, span).await,
    }
}

/// The same where the exchanges of so many sessions share the statements of as many connections as there are cores: what a
/// database makes of them if nothing but the database is busy. Only PostgreSQL has such a statement.
pub async fn exchanges_together_per_second(
    database: &Database,
    sessions: usize,
    span: Duration,
) -> Option<f64> {
    match database.kind {
        Kind::Sqlite => None,
        Kind::Postgres => {
            let connections = settings::cores();
            let together = sessions.div_ceil(connections);
            Some(postgres::exchanges_per_second(database, connections, together, span).await)
        }
    }
}

/// How often per second a database finds a user by its id, with this many connections that each ask one question
/// after the other. SQLite is asked from as many threads as there are cores, and not more than this.
pub async fn selects_per_second(
    database: &Database,
    users: usize,
    connections: usize,
    span: Duration,
) -> f64 {
    match database.kind {
        Kind::Sqlite => sqlite::selects_per_second(database, users, connections, span).await,
        Kind::Postgres => postgres::selects_per_second(database, users, connections, span).await,
    }
}
