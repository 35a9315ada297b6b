//! A lock on the users, held by somebody else.

use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use tokio_postgres::{Client, NoTls};

use crate::support::{Backend, Test};

/// Keeps the service from writing users until it is released.
pub enum WriteLock {
    /// A connection with a transaction that locks the table.
    Postgres(Client),
    /// A connection with the only write transaction.
    Sqlite(SqliteConnection),
}

impl WriteLock {
    /// Takes the lock.
    pub async fn take(t: &Test) -> Self {
        let url = t.database_url();
        match t.backend {
            Backend::Postgres => {
                let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
                tokio::spawn(connection);
                let lock = "BEGIN; LOCK TABLE users IN EXCLUSIVE MODE";
                client.batch_execute(lock).await.unwrap();
                Self::Postgres(client)
            }
            Backend::Sqlite => {
                let path = url.strip_prefix("sqlite://").unwrap();
                let mut connection = SqliteConnection::establish(path).unwrap();
                connection.batch_execute("BEGIN IMMEDIATE").unwrap();
                Self::Sqlite(connection)
            }
        }
    }

    /// Releases the lock; nothing was changed under it.
    pub async fn release(self) {
        match self {
            Self::Postgres(client) => client.batch_execute("ROLLBACK").await.unwrap(),
            Self::Sqlite(mut connection) => connection.batch_execute("ROLLBACK").unwrap(),
        }
    }
}
