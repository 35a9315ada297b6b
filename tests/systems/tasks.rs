//! The task API: users that another application's rows can belong to.

use tonic::Code;

use super::calls::look_up;
use super::plans::{list_of, plan_of_last_read, spawn_with_echo};
use super::rows::{fill, insert_by_hand};
use super::{migrate, migrate_down, table_names};
use crate::support::{Backend, Behaviour, Test, TestServer, behaviours, new_user};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        tsk_01_a_user_has_a_unique_email_a_hash_of_60_characters_and_times,
        tsk_06_the_schema_is_added_to_a_database_that_holds_tasks,
        tsk_07_verification_names_what_is_found_and_what_is_missing,
        tsk_08_the_email_index_is_case_insensitive,
        tsk_08_an_email_in_another_case_is_looked_up_through_the_index,
    ]
}

/// The configuration of the task API: users sign in with their emails.
const CONFIGURATION: &[(&str, &str)] = &[("IDENTITY_REQUIRED_PROFILE_FIELDS", "email")];

async fn start(t: &Test) -> TestServer {
    t.start_with(CONFIGURATION).await
}

async fn tsk_01_a_user_has_a_unique_email_a_hash_of_60_characters_and_times(t: Test) {
    let server = start(&t).await;
    let user = server
        .create(
            new_user()
                .email("ada@example.com")
                .password("correct horse battery"),
        )
        .await
        .unwrap();

    assert!(user.create_time.is_some() && user.update_time.is_some());
    let length = t
        .sql_value("SELECT length(password_hash) AS value FROM users")
        .await;
    assert_eq!(length.as_deref(), Some("60"));
    let longer_than_255 = format!("{}@{}.example.com", "a".repeat(64), "b.".repeat(95));
    let failure = server
        .create(new_user().email(&longer_than_255))
        .await
        .unwrap_err();
    assert_eq!(
        failure.fields(),
        [("user.email".to_owned(), "VALUE_OUT_OF_RANGE".to_owned())]
    );

    // The database holds all of it by itself.
    for (change, constraint) in [
        ("password_hash = 'plain text'", "users_password_hash_check"),
        ("created_at = NULL", "created_at"),
        ("updated_at = NULL", "updated_at"),
    ] {
        let error = t.sql(&format!("UPDATE users SET {change}")).await.unwrap_err();
        assert!(error.contains(constraint), "{change}: {error}");
    }
    let long = format!("'{longer_than_255}', '{longer_than_255}'");
    let error = insert_by_hand(&t, "email, email_normalized", &long)
        .await
        .unwrap_err();
    assert!(error.contains("users_email_check"), "{error}");
}

async fn tsk_06_the_schema_is_added_to_a_database_that_holds_tasks(t: Test) {
    let tasks = "SELECT title AS value FROM tasks ORDER BY id";
    t.sql(
        "CREATE TABLE tasks (id integer PRIMARY KEY, title text NOT NULL);
         CREATE INDEX tasks_title_idx ON tasks (title);
         INSERT INTO tasks VALUES (1, 'water the plants'), (2, 'feed the cat')",
    )
    .await
    .unwrap();
    let (tables_before, tasks_before) = (table_names(&t).await, t.sql_values(tasks).await);
    assert_eq!((tables_before.len(), tasks_before.len()), (1, 2));

    let server = start(&t).await;
    let ada = server.create_user("ada@example.com").await;
    assert_eq!(server.get(&ada.id).await.unwrap(), ada);
    server.shutdown().await;
    assert_eq!(t.sql_values(tasks).await, tasks_before);
    assert!(table_names(&t).await.contains(&"users".to_owned()));

    t.sql("DELETE FROM users; DELETE FROM signing_keys; DELETE FROM user_events")
        .await
        .unwrap();
    migrate_down(&t).await;
    let left = table_names(&t).await;
    assert!(
        left.contains(&"tasks".to_owned()) && !left.contains(&"users".to_owned()),
        "{left:?}"
    );
    assert_eq!(t.sql_values(tasks).await, tasks_before);
}

async fn tsk_07_verification_names_what_is_found_and_what_is_missing(t: Test) {
    migrate(&t, &["up"]).await;
    t.sql("CREATE TABLE tasks (id integer PRIMARY KEY)")
        .await
        .unwrap();

    let report = migrate(&t, &["verify"]).await;
    for found in [
        "table users",
        "column users.email text",
        "constraint users_identifier_check on users",
        "index users_email_normalized_key on users (email_normalized) unique",
        "trigger users_touch on users",
    ] {
        assert!(
            report.contains(&format!("found       {found}")),
            "{found} in {report}"
        );
    }
    assert!(report.contains("unexpected  table tasks"), "{report}");
    assert!(report.ends_with("the schema is as it should be\n"), "{report}");

    let drop_trigger = match t.backend {
        Backend::Postgres => "DROP TRIGGER users_touch ON users",
        Backend::Sqlite => "DROP TRIGGER users_touch",
    };
    for damage in [
        "DROP INDEX users_created_at_idx",
        "ALTER TABLE users DROP COLUMN tokens_valid_after",
        "DROP TABLE request_ids",
        drop_trigger,
    ] {
        t.sql(damage).await.unwrap();
    }
    let (code, damaged, complaint) = t.run(&[], &["migrate", "verify"]).await;
    assert_eq!(code, 1, "{damaged}");
    for missing in [
        "index users_created_at_idx",
        "column users.tokens_valid_after",
        "table request_ids",
        "column request_ids.caller",
        "constraint request_ids_fingerprint_check",
        "trigger users_touch",
    ] {
        assert!(
            damaged.contains(&format!("MISSING     {missing}")),
            "{missing} in {damaged}"
        );
    }
    assert!(complaint.contains("missing"), "{complaint}");
}

async fn tsk_08_the_email_index_is_case_insensitive(t: Test) {
    let server = start(&t).await;
    let ada = server.create_user("Ada@Example.com").await;
    assert_eq!(ada.email, "Ada@Example.com");

    for email in ["ada@example.com", "ADA@EXAMPLE.COM", "aDA@eXAMPLE.cOM"] {
        let failure = server.create(new_user().email(email)).await.unwrap_err();
        assert_eq!(
            (failure.code(), failure.reason().as_str()),
            (Code::AlreadyExists, "EMAIL_TAKEN")
        );

        // By hand, whether the address is normalised or not.
        let columns = "email, email_normalized";
        let normalized = format!("'{email}', lower('{email}')");
        let error = insert_by_hand(&t, columns, &normalized).await.unwrap_err();
        assert!(error.contains("email_normalized"), "{error}");
        let as_typed = format!("'{email}', '{email}'");
        let other = insert_by_hand(&t, columns, &as_typed).await.unwrap_err();
        let expected = if email == "ada@example.com" {
            "email_normalized"
        } else {
            "users_email_check"
        };
        assert!(other.contains(expected), "{other}");
    }
}

async fn tsk_08_an_email_in_another_case_is_looked_up_through_the_index(t: Test) {
    let process = spawn_with_echo(&t, CONFIGURATION).await;
    fill(&t, 2000).await;

    let user = look_up(&process, "FILLER-00042@Example.COM").await.unwrap();

    assert_eq!(user.email, "filler-00042@example.com");
    // A list, because calls that wait together are answered together.
    let plan = plan_of_last_read(&t, &process, &list_of(&t, "filler-00042@example.com")).await;
    assert!(plan.contains("users_email"), "{plan}");
}
