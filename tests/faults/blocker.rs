//! Another program that is in the way.

use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use tokio_postgres::{Client, NoTls};

use crate::support::{Backend, Test};

/// A transaction of another program. What it holds is let go when it is dropped.
pub enum Blocker {
    Sqlite(Box<SqliteConnection>),
    Postgres(Client),
}

impl Blocker {
    /// Keeps everybody else from changing users: on PostgreSQL also from reading them, on SQLite from
    /// changing anything.
    pub async fn of_users(t: &Test) -> Self {
        match t.backend {
            Backend::Sqlite => {
                let url = t.database_url();
                let path = url.strip_prefix("sqlite://").unwrap();
                let mut connection = SqliteConnection::establish(path).unwrap();
                connection
                    .batch_execute("PRAGMA busy_timeout = 30000; BEGIN IMMEDIATE")
                    .unwrap();
                Self::Sqlite(Box::new(connection))
            }
            Backend::Postgres => Self::holding(&t.database_url(), "LOCK TABLE users").await,
        }
    }

    /// Holds what statements take, in a transaction on PostgreSQL.
    pub async fn holding(url: &str, statements: &str) -> Self {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
        tokio::spawn(connection);
        let blocker = Self::Postgres(client);
        blocker.execute(&format!("BEGIN; {statements}")).await.unwrap();
        blocker
    }

    /// Executes more statements in the same transaction. Only for PostgreSQL.
    pub async fn execute(&self, statements: &str) -> Result<(), tokio_postgres::Error> {
        let Self::Postgres(client) = self else {
            panic!("only for PostgreSQL");
        };
        client.batch_execute(statements).await
    }

    /// Lets go of everything.
    pub async fn release(self) {
        match self {
            Self::Sqlite(mut connection) => connection.batch_execute("ROLLBACK").unwrap(),
            Self::Postgres(client) => client.batch_execute("ROLLBACK").await.unwrap(),
        }
    }
}
