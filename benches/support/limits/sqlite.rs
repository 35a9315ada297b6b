//! SQLite by itself, with the settings of the service: one writer, a write-ahead log, every commit on the disk.

use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use tokio::task::spawn_blocking;

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

/// Commits of one row per second.
pub async fn commits_per_second(database: &Database, span: Duration) -> f64 {
    let mut connection = connect(database);
    let measured = spawn_blocking(move || {
        connection
            .batch_execute(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;
                 DROP TABLE IF EXISTS bench_commits;
                 CREATE TABLE bench_commits (id INTEGER NOT NULL PRIMARY KEY, value INTEGER NOT NULL);
                 INSERT INTO bench_commits VALUES (1, 0);",
            )
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
