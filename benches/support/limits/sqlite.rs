//! SQLite by itself, with the settings of the service: one writer, a write-ahead log, every commit on the disk.

use std::time::{Duration, Instant};

use chrono::Utc;
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary};
use tokio::task::spawn_blocking;
use uuid::Uuid;

use crate::support::databases::Database;
use crate::support::load::Turn;
use crate::support::{population, settings};

diesel::table! {
    bench_commits (id) {
        id -> Integer,
        value -> BigInt,
    }
}

// What a read of a user reads.
diesel::table! {
    users (id) {
        id -> Binary,
        email -> Nullable<Text>,
        email_normalized -> Nullable<Text>,
        full_name -> Nullable<Text>,
        password_hash -> Nullable<Text>,
        version -> BigInt,
        created_at -> BigInt,
        updated_at -> BigInt,
    }
}

// What an exchange writes.
diesel::table! {
    sessions (id) {
        id -> Binary,
        generation -> BigInt,
        last_refresh_at -> BigInt,
        idle_expires_at -> BigInt,
    }
}

diesel::table! {
    refresh_tokens (id) {
        id -> Binary,
        session_id -> Binary,
        user_id -> Binary,
        generation -> BigInt,
        token_hash -> Binary,
        expires_at -> BigInt,
        used_at -> Nullable<BigInt>,
        created_at -> BigInt,
    }
}

/// How a connection that writes is set up.
const DURABLE: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;
    PRAGMA foreign_keys = ON;";

/// Commits of one row per second.
pub async fn commits_per_second(database: &Database, span: Duration) -> f64 {
    let mut connection = connect(database);
    let measured = spawn_blocking(move || {
        connection
            .batch_execute(&format!(
                "{DURABLE}
                 DROP TABLE IF EXISTS bench_commits;
                 CREATE TABLE bench_commits (id INTEGER NOT NULL PRIMARY KEY, value INTEGER NOT NULL);
                 INSERT INTO bench_commits VALUES (1, 0);"
            ))
            .expect("a table");
        let mut count = 0_u64;
        let begin = Instant::now();
        while begin.elapsed() < span {
            let row = bench_commits::table.find(1);
            let change = bench_commits::value.eq(bench_commits::value + 1_i64);
            let changed = diesel::update(row).set(change).execute(&mut connection);
            assert_eq!(changed.expect("a commit"), 1);
            count += 1;
        }
        let rate = count as f64 / begin.elapsed().as_secs_f64();
        connection
            .batch_execute("DROP TABLE bench_commits")
            .expect("no table");
        rate
    });
    measured.await.expect("a rate")
}

/// Refresh tokens exchanged per second, one transaction each.
pub async fn exchanges_per_second(database: &Database, span: Duration) -> f64 {
    let mut connection = connect(database);
    let measured = spawn_blocking(move || {
        connection.batch_execute(DURABLE).expect("durability");
        let mut session = BenchSession::begin(&mut connection);
        let mut count = 0_u64;
        let begin = Instant::now();
        while begin.elapsed() < span {
            let written = connection.immediate_transaction(|transaction| session.exchange(transaction));
            assert_eq!(written.expect("an exchange"), 1);
            count += 1;
        }
        let rate = count as f64 / begin.elapsed().as_secs_f64();
        diesel::delete(sessions::table.find(session.id.as_slice()))
            .execute(&mut connection)
            .expect("no session");
        rate
    });
    measured.await.expect("a rate")
}

/// A session whose tokens are exchanged without the service.
struct BenchSession {
    id: [u8; 16],
    user_id: [u8; 16],
    generation: i64,
}

impl BenchSession {
    /// 30 days in microseconds.
    const IDLE: i64 = 30 * 86_400 * 1_000_000;

    fn begin(connection: &mut SqliteConnection) -> Self {
        let (id, user_id) = (Uuid::now_v7().into_bytes(), population::id(0).into_bytes());
        let now = Utc::now().timestamp_micros();
        diesel::sql_query(
            "INSERT INTO sessions (id, user_id, client_id, method, generation, idle_expires_at, expires_at)
             VALUES (?, ?, 'bench', 'password', 1, ?, ?)",
        )
        .bind::<Binary, _>(id)
        .bind::<Binary, _>(user_id)
        .bind::<BigInt, _>(now + Self::IDLE)
        .bind::<BigInt, _>(now + 3 * Self::IDLE)
        .execute(connection)
        .expect("a session");
        Self {
            id,
            user_id,
            generation: 1,
        }
    }

    /// Marks the token of this generation, moves the session on, and writes the next token.
    fn exchange(&mut self, connection: &mut SqliteConnection) -> QueryResult<usize> {
        let now = Utc::now().timestamp_micros();
        let token = refresh_tokens::table
            .filter(refresh_tokens::session_id.eq(self.id.as_slice()))
            .filter(refresh_tokens::generation.eq(self.generation));
        self.generation += 1;
        diesel::update(token)
            .set(refresh_tokens::used_at.eq(now))
            .execute(connection)?;
        diesel::update(sessions::table.find(self.id.as_slice()))
            .set((
                sessions::generation.eq(self.generation),
                sessions::last_refresh_at.eq(now),
                sessions::idle_expires_at.eq(now + Self::IDLE),
            ))
            .execute(connection)?;
        let (id, one, other) = (Uuid::now_v7(), Uuid::new_v4(), Uuid::new_v4());
        diesel::insert_into(refresh_tokens::table)
            .values((
                refresh_tokens::id.eq(id.as_bytes().as_slice()),
                refresh_tokens::session_id.eq(self.id.as_slice()),
                refresh_tokens::user_id.eq(self.user_id.as_slice()),
                refresh_tokens::generation.eq(self.generation),
                refresh_tokens::token_hash.eq([one.into_bytes(), other.into_bytes()].concat()),
                refresh_tokens::expires_at.eq(now + Self::IDLE),
                refresh_tokens::created_at.eq(now),
            ))
            .execute(connection)
    }
}

/// Users found per second by their ids.
pub async fn selects_per_second(
    database: &Database,
    users: usize,
    connections: usize,
    span: Duration,
) -> f64 {
    let threads: Vec<_> = (0..connections.min(settings::cores()))
        .map(|caller| {
            let mut connection = connect(database);
            spawn_blocking(move || select(&mut connection, users, caller, span))
        })
        .collect();
    let mut rate = 0.0;
    for thread in threads {
        rate += thread.await.expect("a rate");
    }
    rate
}

fn select(connection: &mut SqliteConnection, users: usize, caller: usize, span: Duration) -> f64 {
    type Row = (
        Vec<u8>,
        Option<String>,
        Option<String>,
        Option<String>,
        Option<String>,
        i64,
        i64,
        i64,
    );
    let mut number = 0;
    let begin = Instant::now();
    while begin.elapsed() < span {
        let turn = Turn { caller, number };
        let id = population::id(turn.pick(users)).into_bytes();
        let row: Row = users::table
            .find(id.as_slice())
            .first(connection)
            .expect("a user");
        assert_eq!(row.0, id);
        number += 1;
    }
    number as f64 / begin.elapsed().as_secs_f64()
}

fn connect(database: &Database) -> SqliteConnection {
    let path = database.url.strip_prefix("sqlite://").expect("a file");
    let mut connection = SqliteConnection::establish(path).expect("a connection");
    connection
        .batch_execute("PRAGMA busy_timeout = 5000;")
        .expect("patience");
    connection
}
