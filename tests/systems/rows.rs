//! Rows typed by hand, past the service.

use crate::support::{Backend, Test};

/// Inserts a user as an administrator might, giving the columns `columns` the SQL expressions `values`.
pub async fn insert_by_hand(t: &Test, columns: &str, values: &str) -> Result<(), String> {
    let statement = match t.backend {
        // PostgreSQL makes an id; SQLite has no function that would.
        Backend::Postgres => format!("INSERT INTO users ({columns}) VALUES ({values})"),
        Backend::Sqlite => {
            format!("INSERT INTO users (id, {columns}) VALUES (randomblob(16), {values})")
        }
    };
    t.sql(&statement).await
}

/// The first moment of 2026, when the first of the users of [`fill`] was created.
pub const FIRST_SECOND: i64 = 1_767_225_600;

/// Adds `count` users at once: `filler-00000@example.com` and on, one created every second from
/// [`FIRST_SECOND`]. Every hundredth is blocked, every tenth inactive. PostgreSQL learns how many rows it has,
/// as it would by itself in time; SQLite never learns that by itself.
pub async fn fill(t: &Test, count: u32) {
    let columns = "email, email_normalized, is_blocked, is_active, created_at, updated_at";
    let statement = match t.backend {
        Backend::Postgres => format!(
            "INSERT INTO users ({columns})
             SELECT email, email, n % 100 = 0, n % 10 <> 0, created_at, created_at
             FROM generate_series(0, {count} - 1) AS n,
                  format('filler-%s@example.com', lpad(n::text, 5, '0')) AS email,
                  to_timestamp({FIRST_SECOND} + n) AS created_at;
             ANALYZE users"
        ),
        Backend::Sqlite => format!(
            "WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count} - 1)
             INSERT INTO users (id, {columns})
             SELECT randomblob(16), format('filler-%05d@example.com', n), format('filler-%05d@example.com', n),
                    n % 100 = 0, n % 10 <> 0, ({FIRST_SECOND} + n) * 1000000, ({FIRST_SECOND} + n) * 1000000
             FROM numbers"
        ),
    };
    t.sql(&statement).await.unwrap();
}
