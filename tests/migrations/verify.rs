//! `identity migrate verify`: the live schema, object by object.

use std::collections::BTreeSet;

use identity::database::Database;
use identity::telemetry::DatabaseMetrics;

use super::{migrate, migrate_in_vain};
use crate::support::{Backend, Behaviour, Test, behaviours, postgres_only, sqlite_only};

pub fn tests() -> Vec<Behaviour> {
    [
        behaviours![
            tsk_07_every_object_is_listed_as_found,
            tsk_07_what_others_made_is_listed_and_is_no_fault,
            m10_what_is_missing_is_named,
            m10_an_empty_database_lacks_everything,
            the_schema_that_is_written_down_is_the_one_that_migrations_make,
        ],
        postgres_only![m10_what_is_missing_on_postgresql_is_named],
        sqlite_only![m10_a_table_made_without_its_checks_is_noticed],
    ]
    .concat()
}

/// What a migrated database should have.
fn expected(t: &Test) -> BTreeSet<&'static str> {
    match t.backend {
        Backend::Sqlite => include_str!("../../src/database/verify/schema_sqlite.txt"),
        Backend::Postgres => include_str!("../../src/database/verify/schema_postgres.txt"),
    }
    .lines()
    .collect()
}

async fn the_schema_that_is_written_down_is_the_one_that_migrations_make(t: Test) {
    migrate(&t, &["up"]).await;

    let database = Database::new(&t.settings(&[]).database, DatabaseMetrics::default()).unwrap();
    let live = database.describe_schema().await.unwrap();

    let live: BTreeSet<&str> = live.iter().map(String::as_str).collect();
    assert_eq!(live, expected(&t));
}

async fn tsk_07_every_object_is_listed_as_found(t: Test) {
    migrate(&t, &["up"]).await;

    let report = migrate(&t, &["verify"]).await;

    let (found, conclusion): (Vec<&str>, Vec<&str>) =
        report.lines().partition(|line| line.starts_with("found"));
    let objects: BTreeSet<&str> = found
        .iter()
        .map(|line| line.trim_start_matches("found").trim_start())
        .collect();
    assert_eq!(objects, expected(&t));
    assert_eq!(conclusion, ["the schema is as it should be"]);
    for kind in ["table", "column", "index", "constraint", "trigger"] {
        assert!(
            objects.iter().any(|object| object.starts_with(kind)),
            "no {kind} is looked at"
        );
    }
}

async fn tsk_07_what_others_made_is_listed_and_is_no_fault(t: Test) {
    migrate(&t, &["up"]).await;
    t.sql("CREATE TABLE tasks (title text); CREATE INDEX tasks_title_idx ON tasks (title)")
        .await
        .unwrap();

    let report = migrate(&t, &["verify"]).await;

    for line in [
        "unexpected  table tasks\n",
        "unexpected  index tasks_title_idx on tasks (title)\n",
    ] {
        assert!(report.contains(line), "{report}");
    }
}

async fn m10_what_is_missing_is_named(t: Test) {
    let drop_trigger = match t.backend {
        Backend::Sqlite => "DROP TRIGGER users_touch",
        Backend::Postgres => "DROP TRIGGER users_touch ON users",
    };
    let cases = [
        ("DROP INDEX users_created_at_idx", "index users_created_at_idx"),
        (
            "DROP INDEX users_email_normalized_key;
             CREATE INDEX users_email_normalized_key ON users (email_normalized)",
            "index users_email_normalized_key",
        ),
        (
            "DROP INDEX users_created_at_idx; CREATE INDEX users_created_at_idx ON users (id, created_at)",
            "index users_created_at_idx",
        ),
        (
            "DROP INDEX users_blocked_idx; CREATE INDEX users_blocked_idx ON users (id)",
            "index users_blocked_idx",
        ),
        (drop_trigger, "trigger users_touch"),
        (
            "ALTER TABLE users DROP COLUMN tokens_valid_after",
            "column users.tokens_valid_after",
        ),
        ("DROP TABLE request_ids", "table request_ids"),
    ];
    for (damage, object) in cases {
        migrate(&t, &["up"]).await;
        t.sql(damage).await.unwrap();

        let report = migrate_in_vain(&t, &["verify"]).await;

        assert!(
            report.contains(&format!("MISSING     {object}")),
            "{damage}:\n{report}"
        );
        assert!(report.contains("are missing or different"), "{damage}:\n{report}");
        start_over(&t).await;
    }
}

async fn m10_an_empty_database_lacks_everything(t: Test) {
    let report = migrate_in_vain(&t, &["verify"]).await;

    for object in expected(&t) {
        assert!(report.contains(&format!("MISSING     {object}\n")), "{report}");
    }
    assert!(!report.contains("found  "), "{report}");
}

async fn m10_what_is_missing_on_postgresql_is_named(t: Test) {
    let cases = [
        (
            "ALTER TABLE users DROP CONSTRAINT users_birth_date_check",
            "constraint users_birth_date_check",
        ),
        (
            "ALTER TABLE users ALTER COLUMN version DROP NOT NULL",
            "column users.version",
        ),
        (
            "ALTER TABLE users ALTER COLUMN id DROP DEFAULT",
            "column users.id",
        ),
        (
            "ALTER TABLE users ALTER COLUMN full_name TYPE varchar(255)",
            "column users.full_name",
        ),
        ("DROP FUNCTION users_touch() CASCADE", "function users_touch"),
        (
            "ALTER TYPE auth_provider RENAME VALUE 'oidc' TO 'other'",
            "type auth_provider",
        ),
        (
            "DROP INDEX users_email_prefix_idx",
            "index users_email_prefix_idx",
        ),
    ];
    for (damage, object) in cases {
        migrate(&t, &["up"]).await;
        t.sql(damage).await.unwrap();

        let report = migrate_in_vain(&t, &["verify"]).await;

        assert!(
            report.contains(&format!("MISSING     {object}")),
            "{damage}:\n{report}"
        );
        start_over(&t).await;
    }
}

/// SQLite cannot drop a constraint; who wants to be rid of one makes the table anew.
async fn m10_a_table_made_without_its_checks_is_noticed(t: Test) {
    migrate(&t, &["up"]).await;
    t.sql(
        "DROP TRIGGER oauth_accounts_credential_check_delete; DROP TRIGGER oauth_accounts_credential_check_update;
         CREATE TABLE bare AS SELECT * FROM users; DROP TABLE users; ALTER TABLE bare RENAME TO users",
    )
    .await
    .unwrap();

    let report = migrate_in_vain(&t, &["verify"]).await;

    for object in [
        "constraint users_pkey on users",
        "constraint users_email_check on users",
        "index users_username_normalized_key",
        "column users.id blob not null",
    ] {
        assert!(report.contains(&format!("MISSING     {object}")), "{report}");
    }
}

/// Empties the database, whatever is left of it.
async fn start_over(t: &Test) {
    match t.backend {
        Backend::Postgres => t.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public").await,
        Backend::Sqlite => {
            t.sql(
                "DROP TABLE IF EXISTS request_ids; DROP TABLE oauth_accounts; DROP TABLE user_events; DROP TABLE service_tokens; DROP TABLE one_time_tokens; DROP TABLE signing_keys;
                 DROP TABLE lockouts; DROP TABLE login_attempts; DROP TABLE refresh_tokens; DROP TABLE sessions;
                 DROP TABLE users; DROP TABLE migration_checksums; DROP TABLE __diesel_schema_migrations",
            )
            .await
        }
    }
    .unwrap();
}
