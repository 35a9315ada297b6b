//! Many users, written by the database itself: a million in seconds.
//!
//! A row is as the service writes it for somebody who was created with an email, a name and a password. Ids are of version
//! 7, in the order of creation, and follow from the number of the user, so that nobody has to remember them. What is not
//! written is the event of each creation, which none of the calls that are measured look at.

use uuid::Uuid;

use super::Database;
use super::databases::Kind;

/// When the first user was created: 2026-01-01, in milliseconds. Each further one came a millisecond later.
const FIRST_MILLISECOND: u64 = 1_767_225_600_000;

// The bits of an id that would be random; odd factors, so that no two are the same.
const SHORT_FACTOR: u64 = 40_503;
const SHORT_MASK: u64 = 0xFFF;
const LONG_FACTOR: u64 = 2_654_435_761;
const LONG_MASK: u64 = 0x0FFF_FFFF_FFFF_FFFF;

/// Rows of one statement: few enough for a write-ahead log of a gigabyte. Each statement of SQLite begins with an empty cache.
const ROWS: usize = 1_000_000;

/// Returns the id of a user.
pub fn id(number: usize) -> Uuid {
    let number = number as u64;
    let text = format!(
        "{:012x}7{:03x}8{:015x}",
        FIRST_MILLISECOND + number,
        (number * SHORT_FACTOR) & SHORT_MASK,
        (number * LONG_FACTOR) & LONG_MASK,
    );
    Uuid::parse_str(&text).expect("an id")
}

/// Returns the email of a user.
pub fn email(number: usize) -> String {
    format!("user{number}@example.com")
}

/// Writes users 0 to `count`, all with the same hash of a password, into a database that has been migrated.
pub async fn fill(database: &Database, count: usize, hash: &str) {
    for first in (0..count).step_by(ROWS) {
        let last = (first + ROWS).min(count) - 1;
        let statement = match database.kind {
            Kind::Sqlite => on_sqlite(first, last, hash),
            Kind::Postgres => on_postgres(first, last, hash),
        };
        database.execute(&statement).await;
    }
    // What a database does by itself some time after it was filled is done now, so that it does not do so while it is
    // measured.
    let settle = match database.kind {
        Kind::Sqlite => "PRAGMA wal_checkpoint(TRUNCATE)",
        Kind::Postgres => "VACUUM (ANALYZE, FREEZE) users",
    };
    database.execute(settle).await;
    if database.kind == Kind::Postgres {
        database.execute("CHECKPOINT").await;
    }
}

const COLUMNS: &str = "users (id, email, email_normalized, full_name, password_hash, password_changed_at, auth_provider, \
                       created_at, updated_at)";

fn on_sqlite(first: usize, last: usize, hash: &str) -> String {
    let id = format!(
        "unhex(printf('%012x7%03x8%015x', {FIRST_MILLISECOND} + i, (i * {SHORT_FACTOR}) & {SHORT_MASK}, \
         (i * {LONG_FACTOR}) & {LONG_MASK}))"
    );
    let time = format!("({FIRST_MILLISECOND} + i) * 1000");
    format!(
        "PRAGMA synchronous = OFF;
         PRAGMA cache_size = -500000;
         WITH RECURSIVE n(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {last})
         INSERT INTO {COLUMNS}
         SELECT {id}, 'user' || i || '@example.com', 'user' || i || '@example.com', 'Ada Lovelace', '{hash}', {time},
                'password', {time}, {time}
         FROM n;"
    )
}

fn on_postgres(first: usize, last: usize, hash: &str) -> String {
    let id = format!(
        "(lpad(to_hex({FIRST_MILLISECOND} + i), 12, '0') || '7' \
         || lpad(to_hex((i * {SHORT_FACTOR}) & {SHORT_MASK}), 3, '0') || '8' \
         || lpad(to_hex((i * {LONG_FACTOR}) & {LONG_MASK}), 15, '0'))::uuid"
    );
    let time = format!("to_timestamp(0) + ({FIRST_MILLISECOND} + i) * interval '1 millisecond'");
    format!(
        "SET synchronous_commit = off;
         INSERT INTO {COLUMNS}
         SELECT {id}, 'user' || i || '@example.com', 'user' || i || '@example.com', 'Ada Lovelace', '{hash}', {time},
                'password', {time}, {time}
         FROM generate_series({first}::bigint, {last}::bigint) AS n(i);"
    )
}
