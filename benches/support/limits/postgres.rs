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

/// Refresh tokens exchanged per second, those of so many sessions in one statement.
pub async fn exchanges_per_second(
    database: &Database,
    connections: usize,
    together: usize,
    span: Duration,
) -> f64 {
    const CLEAR: &str = "DELETE FROM sessions WHERE client_id = 'bench'";
    let setup = connect(database).await;
    setup
        .batch_execute(&format!(
            "{CLEAR};
             INSERT INTO sessions (user_id, client_id, method, idle_expires_at, expires_at)
                 SELECT id, 'bench', 'password', now() + interval '30 days', now() + interval '90 days'
                 FROM users ORDER BY id LIMIT {};
             INSERT INTO refresh_tokens (session_id, user_id, generation, token_hash, expires_at)
                 SELECT id, user_id, generation, sha256(uuid_send(id)), idle_expires_at
                 FROM sessions WHERE client_id = 'bench'",
            connections * together
        ))
        .await
        .expect("sessions");
    let rate = rate_of(database, connections, span, move |client, caller| async move {
        // As the service has it: a planner that knows little of the tables yet would read them whole, and one that sees
        // the length of a list would plan anew for each.
        let settings = "SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan";
        client.batch_execute(settings).await.expect("settings");
        let first = caller * together;
        let ids = format!(
            "SELECT id FROM sessions WHERE client_id = 'bench' ORDER BY id OFFSET {first} LIMIT {together}"
        );
        let rows = client.query(&ids, &[]).await.expect("sessions");
        let sessions: Vec<RawUuid> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(sessions.len(), together);
        let exchange = "WITH rotated AS (
                UPDATE sessions SET
                    generation = generation + 1, last_refresh_at = now(), idle_expires_at = now() + interval '30 days'
                WHERE id = ANY($1)
                RETURNING id, user_id, generation, idle_expires_at
            ), used AS (
                UPDATE refresh_tokens AS t SET used_at = now()
                FROM rotated
                WHERE t.session_id = rotated.id AND t.generation = rotated.generation - 1
                RETURNING rotated.*
            )
            INSERT INTO refresh_tokens (session_id, user_id, generation, token_hash, expires_at)
            SELECT id, user_id, generation, sha256(uuid_send(gen_random_uuid())), idle_expires_at FROM used";
        let statement = client.prepare(exchange).await.expect("a statement");
        let mut count = 0_u64;
        let begin = Instant::now();
        while begin.elapsed() < span {
            let written = client.execute(&statement, &[&sessions]).await.expect("exchanges");
            assert_eq!(written, together as u64);
            count += written;
        }
        count
    })
    .await;
    setup.batch_execute(CLEAR).await.expect("no sessions");
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

/// An id as its 16 bytes.
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

impl<'a> tokio_postgres::types::FromSql<'a> for RawUuid {
    fn from_sql(
        _: &tokio_postgres::types::Type,
        raw: &'a [u8],
    ) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(Uuid::from_slice(raw)?))
    }

    fn accepts(kind: &tokio_postgres::types::Type) -> bool {
        *kind == tokio_postgres::types::Type::UUID
    }
}
