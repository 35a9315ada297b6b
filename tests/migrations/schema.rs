//! What a migrated database is like.

use super::migrate;
use crate::support::{Behaviour, Test, eventually, postgres_only, sqlite_only};

pub fn tests() -> Vec<Behaviour> {
    [
        postgres_only![
            every_table_and_column_has_a_comment,
            num_13_ids_of_rows_made_by_hand_are_random,
            todo_05_the_indexes_serve_sorting_and_prefixes,
        ],
        sqlite_only![
            the_journal_is_written_ahead,
            the_file_is_readable_by_its_owner_only,
            a_damaged_file_is_refused,
        ],
    ]
    .concat()
}

async fn every_table_and_column_has_a_comment(t: Test) {
    migrate(&t, &["up"]).await;

    // Those of the migrations themselves are made before any of them.
    let objects = "
        WITH tables AS (
            SELECT oid, relname FROM pg_class
            WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace
            AND relname NOT IN ('__diesel_schema_migrations', 'migration_checksums')
        ), objects AS (
            SELECT relname AS name, obj_description(oid, 'pg_class') AS comment FROM tables
            UNION ALL
            SELECT relname || '.' || attname, col_description(attrelid, attnum)
            FROM tables JOIN pg_attribute ON attrelid = oid WHERE attnum > 0 AND NOT attisdropped
        )";
    let bare =
        format!("{objects} SELECT name AS value FROM objects WHERE coalesce(length(comment), 0) < 10");
    assert_eq!(t.sql_values(&bare).await, []);
    let all = format!("{objects} SELECT name AS value FROM objects");
    let all = t.sql_values(&all).await;
    for known in ["users.email", "sessions.idle_expires_day", "user_events"] {
        assert!(all.contains(&Some(known.to_owned())), "{known}");
    }
}

async fn num_13_ids_of_rows_made_by_hand_are_random(t: Test) {
    migrate(&t, &["up"]).await;
    t.sql(
        "INSERT INTO users (email, email_normalized)
         SELECT email, email FROM (SELECT format('u%s@example.com', n) AS email
                                   FROM generate_series(1, 100) AS n) AS emails",
    )
    .await
    .unwrap();

    // The version is in the first digit of the third group.
    let random = t
        .sql_value(
            "SELECT count(DISTINCT left(id::text, 8)) AS value FROM users
             WHERE substr(id::text, 15, 1) = '4'",
        )
        .await;

    assert_eq!(random.as_deref(), Some("100"));
}

async fn todo_05_the_indexes_serve_sorting_and_prefixes(t: Test) {
    migrate(&t, &["up"]).await;
    t.sql(
        "INSERT INTO users (email, email_normalized)
         SELECT email, email FROM (SELECT format('u%s@example.com', n) AS email
                                   FROM generate_series(1, 5000) AS n) AS emails;
         ANALYZE users",
    )
    .await
    .unwrap();

    for (query, index) in [
        (
            "SELECT * FROM users WHERE created_at >= now() ORDER BY created_at, id LIMIT 50",
            "users_created_at_idx",
        ),
        (
            "SELECT * FROM users WHERE email_normalized LIKE 'u123%'",
            "users_email_",
        ),
        ("SELECT id FROM users WHERE is_blocked", "users_blocked_idx"),
    ] {
        let plan = t.sql_values(&format!("EXPLAIN {query}")).await;
        assert!(
            plan.iter().flatten().any(|line| line.contains(index)),
            "{plan:#?}"
        );
    }
}

async fn the_journal_is_written_ahead(t: Test) {
    let server = t.start().await;
    server.create_user("ada@example.com").await;

    let mode = t
        .sql_value("SELECT journal_mode AS value FROM pragma_journal_mode")
        .await;

    assert_eq!(mode.as_deref(), Some("wal"));
}

async fn the_file_is_readable_by_its_owner_only(t: Test) {
    use std::os::unix::fs::PermissionsExt;
    let server = t.start().await;
    server.create_user("ada@example.com").await;

    let url = t.database_url();
    let path = url.strip_prefix("sqlite://").unwrap();
    for suffix in ["", "-wal", "-shm"] {
        let metadata = eventually("the file is there", async || {
            std::fs::metadata(format!("{path}{suffix}")).ok()
        })
        .await;
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{suffix}");
    }
}

async fn a_damaged_file_is_refused(t: Test) {
    let url = t.database_url();
    let path = url.strip_prefix("sqlite://").unwrap();
    std::fs::write(path, [7; 4096]).unwrap();

    let refusal = super::serve_in_vain(&t, &[("IDENTITY_DATABASE_CONNECT_TIMEOUT", "1s")]).await;

    assert!(refusal.contains("DATABASE_URL"), "{refusal}");
    assert!(refusal.contains("not a database"), "{refusal}");
    assert_eq!(std::fs::read(path).unwrap(), [7; 4096]);
}
