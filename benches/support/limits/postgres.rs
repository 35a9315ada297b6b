//! PostgreSQL by itself: connections that each prepare one statement and execute it one time after the other.

use std::future::Future;
use std::time::{Duration, Instant};

use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use crate::support::databases::Database;
use crate::support::load::Turn;
use crate::support::population;

/// Commits of one row per second. `synchronous_commit` is as the service has it: as the server says, which is on.
pub async fn commits_per_second(database: &Database, connections: usize, span: Duration) -> f64 {
    let rows = i32::try_from(connections).expect("few connections");
    let setup = connect(database).await;
    setup
        .batch_execute("DROP TABLE IF EXISTS bench_commits; CREATE TABLE bench_commits (id int PRIMARY KEY, value bigint NOT NULL)")
        .await
        .expect("a table");
    setup
        .execute(
            "INSERT INTO bench_commits SELECT i, 0 FROM generate_series(0, $1) AS n(i)",
            &[&rows],
        )
        .await
        .expect("its rows");
    let rate = rate_of(database, connections, span, |client, caller| async move {
        let row = i32::try_from(caller).expect("few callers");
        let update = "UPDATE bench_commits SET value = value + 1 WHERE id = $1";
        let statement = client.prepare(update).await.expect("a statement");
        let mut count = 0_u64;
        let begin = Instant::now();
        while begin.elapsed() < span {
            let changed = client.execute(&statement, &[&row]).await.expect("a commit");
            assert_eq!(changed, 1);
            count += 1;
        }
        count
    })
    .await;
    setup
        .batch_execute("DROP TABLE bench_commits")
        .await
        .expect("no table");
    rate
}

/// Users found per second by their ids.
pub async fn selects_per_second(
    database: &Database,
    users: usize,
    connections: usize,
    span: Duration,
) -> f64 {
    rate_of(database, connections, span, |client, caller| async move {
        let select = "SELECT * FROM users WHERE id = $1";
        let statement = client.prepare(select).await.expect("a statement");
        let mut number = 0;
        let begin = Instant::now();
        while begin.elapsed() < span {
            let turn = Turn { caller, number };
            let id: Uuid = population::id(turn.pick(users));
            let row = client
                .query_one(&statement, &[&RawUuid(id)])
                .await
                .expect("a user");
            assert!(!row.is_empty());
            number += 1;
        }
        number
    })
    .await
}

async fn rate_of<C, F>(database: &Database, connections: usize, span: Duration, work: C) -> f64
where
    C: Fn(Client, usize) -> F + Copy,
    F: Future<Output = u64> + Send + 'static,
{
    let mut clients = Vec::new();
    for _ in 0..connections {
        clients.push(connect(database).await);
    }
    let work = clients
        .into_iter()
        .enumerate()
        .map(|(caller, client)| work(client, caller));
    let tasks: Vec<_> = work.map(tokio::spawn).collect();
    let mut count = 0;
    for task in tasks {
        count += task.await.expect("a count");
    }
    count as f64 / span.as_secs_f64()
}

async fn connect(database: &Database) -> Client {
    let connected = tokio_postgres::connect(&database.url, NoTls).await;
    let (client, connection) = connected.expect("a connection");
    tokio::spawn(connection);
    client
}

/// An id as a parameter: its 16 bytes.
#[derive(Debug)]
struct RawUuid(Uuid);

impl tokio_postgres::types::ToSql for RawUuid {
    fn to_sql(
        &self,
        _: &tokio_postgres::types::Type,
        out: &mut tokio_postgres::types::private::BytesMut,
    ) -> Result<tokio_postgres::types::IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.extend_from_slice(self.0.as_bytes());
        Ok(tokio_postgres::types::IsNull::No)
    }

    fn accepts(kind: &tokio_postgres::types::Type) -> bool {
        *kind == tokio_postgres::types::Type::UUID
    }

    tokio_postgres::types::to_sql_checked!();
}
