//! `identity migrate`: up, down, status and history, and what each says that it did.

use super::{MIGRATIONS, count, migrate, migrate_in_vain};
use crate::support::{Backend, Behaviour, Test, behaviours, new_user};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        num_10_a_second_up_does_nothing_and_says_so,
        num_10_down_removes_the_tables_and_up_makes_them_again,
        todo_09_up_down_up_leaves_the_same_schema,
        num_11_every_command_says_what_it_did,
        num_11_down_takes_back_as_many_steps_as_asked,
        m03_down_is_refused_while_there_are_rows,
        m03_down_with_force_loses_the_rows_and_up_works_again,
        m03_down_and_up_of_an_empty_table_keeps_the_other_rows,
        a_wrong_number_of_steps_is_refused,
    ]
}

async fn num_10_a_second_up_does_nothing_and_says_so(t: Test) {
    let first = migrate(&t, &["up"]).await;
    assert_eq!(
        first.lines().collect::<Vec<_>>(),
        MIGRATIONS.map(|name| format!("applied {name}"))
    );
    let applied_at = migrate(&t, &["history"]).await;

    let second = migrate(&t, &["up"]).await;

    assert_eq!(second, "nothing to apply: the database is up to date\n");
    assert_eq!(migrate(&t, &["history"]).await, applied_at);
}

async fn num_10_down_removes_the_tables_and_up_makes_them_again(t: Test) {
    migrate(&t, &["up"]).await;

    migrate(&t, &["down", "--steps", &count()]).await;

    for table in ["users", "request_ids"] {
        let error = t.sql(&format!("SELECT 1 FROM {table}")).await.unwrap_err();
        assert!(error.contains(table), "{error}");
    }
    let objects = match t.backend {
        Backend::Sqlite => "SELECT name AS value FROM sqlite_schema WHERE name LIKE '%users%'",
        Backend::Postgres => {
            "SELECT proname::text AS value FROM pg_proc WHERE proname LIKE 'users%'
             UNION ALL SELECT typname FROM pg_type WHERE typname = 'auth_provider'"
        }
    };
    assert_eq!(t.sql_values(objects).await, []);

    migrate(&t, &["up"]).await;
    let server = t.start().await;
    server.create_user("ada@example.com").await;
}

async fn todo_09_up_down_up_leaves_the_same_schema(t: Test) {
    migrate(&t, &["up"]).await;
    let before = migrate(&t, &["verify"]).await;

    migrate(&t, &["down", "--steps", &count()]).await;
    let without = migrate_in_vain(&t, &["verify"]).await;
    assert!(without.contains("MISSING     table users\n"), "{without}");
    migrate(&t, &["up"]).await;

    assert_eq!(migrate(&t, &["verify"]).await, before);
    for step in 1..=MIGRATIONS.len() {
        migrate(&t, &["down", "--steps", &step.to_string()]).await;
        migrate(&t, &["up"]).await;
        assert_eq!(migrate(&t, &["verify"]).await, before, "after {step} steps");
    }
}

async fn num_11_every_command_says_what_it_did(t: Test) {
    let listed = |beginning: &str| MIGRATIONS.map(|name| format!("{beginning}{name}\n")).concat();
    let [first, .., before_last, last] = MIGRATIONS;
    assert_eq!(
        migrate(&t, &["status"]).await,
        format!(
            "version: none\napplied: 0\npending: {}\n{}",
            count(),
            listed("  ")
        )
    );
    assert_eq!(migrate(&t, &["history"]).await, listed("pending               "));

    migrate(&t, &["up"]).await;
    assert_eq!(
        migrate(&t, &["status"]).await,
        format!("version: {last}\napplied: {}\npending: 0\n", count())
    );
    assert_eq!(migrate(&t, &["down"]).await, format!("reverted {last}\n"));

    assert_eq!(
        migrate(&t, &["status"]).await,
        format!(
            "version: {before_last}\napplied: {}\npending: 1\n  {last}\n",
            MIGRATIONS.len() - 1
        )
    );
    let history = migrate(&t, &["history"]).await;
    let lines: Vec<&str> = history.lines().collect();
    assert_eq!(lines.len(), MIGRATIONS.len(), "{history}");
    let (applied_at, name) = lines[0].split_once("  ").unwrap();
    assert!(
        chrono::DateTime::parse_from_rfc3339(applied_at).is_ok(),
        "{applied_at}"
    );
    assert_eq!(name, first);
    assert_eq!(
        lines[MIGRATIONS.len() - 1],
        format!("pending               {last}")
    );
}

async fn num_11_down_takes_back_as_many_steps_as_asked(t: Test) {
    migrate(&t, &["up"]).await;

    assert_eq!(
        migrate(&t, &["down", "--steps", "0"]).await,
        "nothing to revert: no step was asked for\n"
    );
    assert_eq!(
        migrate(&t, &["down", "--steps", &count()]).await,
        MIGRATIONS
            .iter()
            .rev()
            .map(|name| format!("reverted {name}\n"))
            .collect::<String>()
    );
    assert_eq!(
        migrate(&t, &["down"]).await,
        "nothing to revert: the database has no migration\n"
    );
}

async fn m03_down_is_refused_while_there_are_rows(t: Test) {
    let server = t.start().await;
    let ada = server.create_user("ada@example.com").await;
    server.shutdown().await;
    // What happened would be lost, too, and so would the key that the server made.
    let events = migrate_in_vain(&t, &["down", "--steps", &count()]).await;
    assert!(events.contains("rows of user_events"), "{events}");
    t.sql("DELETE FROM user_events").await.unwrap();
    let keys = migrate_in_vain(&t, &["down", "--steps", &count()]).await;
    assert!(keys.contains("rows of signing_keys"), "{keys}");
    t.sql("DELETE FROM signing_keys").await.unwrap();

    let refusal = migrate_in_vain(&t, &["down", "--steps", &count()]).await;

    assert!(refusal.contains(MIGRATIONS[0]), "{refusal}");
    assert!(refusal.contains("rows of users"), "{refusal}");
    assert!(refusal.contains("--force"), "{refusal}");
    // Nothing was reverted, not even the migration that could have been.
    let status = migrate(&t, &["status"]).await;
    assert!(status.contains(&format!("applied: {}\n", count())), "{status}");
    let again = t.start_with(&[("IDENTITY_MIGRATE", "off")]).await;
    assert_eq!(again.get(&ada.id).await.unwrap(), ada);
}

async fn m03_down_with_force_loses_the_rows_and_up_works_again(t: Test) {
    let server = t.start().await;
    let ada = server.create_user("ada@example.com").await;
    server.shutdown().await;

    migrate(&t, &["down", "--steps", &count(), "--force"]).await;
    migrate(&t, &["up"]).await;
    migrate(&t, &["verify"]).await;

    let again = t.start().await;
    assert_eq!(again.get(&ada.id).await.unwrap_err().reason(), "USER_NOT_FOUND");
    again.create_user("ada@example.com").await;
}

async fn m03_down_and_up_of_an_empty_table_keeps_the_other_rows(t: Test) {
    let server = t.start().await;
    let user = new_user()
        .email("ada@example.com")
        .username(r"\example\ada")
        .full_name("Ada")
        .birth_date(1815, 12, 10)
        .password("correct horse battery");
    let ada = server.create(user).await.unwrap();
    server.shutdown().await;
    t.sql("DELETE FROM user_events").await.unwrap();

    migrate(&t, &["down"]).await;
    migrate(&t, &["up"]).await;

    let again = t.start().await;
    assert_eq!(again.get(&ada.id).await.unwrap(), ada);
}

async fn a_wrong_number_of_steps_is_refused(t: Test) {
    migrate(&t, &["up"]).await;

    let (code, _, stderr) = t.run(&[], &["migrate", "down", "--steps", "all"]).await;

    assert_eq!(code, 64, "{stderr}");
    assert!(stderr.contains("--steps"), "{stderr}");
    let status = migrate(&t, &["status"]).await;
    assert!(status.contains(&format!("applied: {}\n", count())), "{status}");
}
