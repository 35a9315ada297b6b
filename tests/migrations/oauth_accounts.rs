//! The migration that adds accounts at providers, on a database that is in use.

use super::{MIGRATIONS, migrate};
use crate::support::{Backend, Behaviour, Test, behaviours};

pub fn tests() -> Vec<Behaviour> {
    behaviours![m03_events_survive_the_wider_check_and_its_end]
}

const COLUMNS: &str = "id, user_id, type, changed_fields, actor_kind, actor_name, correlation_id";

/// Writes an event of a type by hand.
async fn write(t: &Test, event_type: &str) -> Result<(), String> {
    let id = match t.backend {
        Backend::Sqlite => "randomblob(16)",
        Backend::Postgres => "gen_random_uuid()",
    };
    t.sql(&format!(
        "INSERT INTO user_events ({COLUMNS})
         VALUES ({id}, {id}, '{event_type}', NULL, 'system', NULL, 'c')"
    ))
    .await
}

/// The events, all of what they say.
async fn events(t: &Test) -> Vec<Option<String>> {
    let bytes = |column: &str| match t.backend {
        Backend::Sqlite => format!("hex({column})"),
        Backend::Postgres => format!("{column}::text"),
    };
    let (id, user_id) = (bytes("id"), bytes("user_id"));
    t.sql_values(&format!(
        "SELECT sequence || ' ' || {id} || ' ' || {user_id} || ' ' || type || ' ' || occurred_at AS value
         FROM user_events ORDER BY sequence"
    ))
    .await
}

async fn m03_events_survive_the_wider_check_and_its_end(t: Test) {
    migrate(&t, &["up"]).await;
    // Back to where there were no accounts.
    let later = MIGRATIONS
        .iter()
        .rev()
        .position(|name| name.ends_with("_create_oauth_accounts"));
    let steps = (later.unwrap() + 1).to_string();
    migrate(&t, &["down", "--steps", &steps]).await;
    assert!(
        write(&t, "oauth_account_linked")
            .await
            .unwrap_err()
            .contains("user_events_type_check")
    );
    for event_type in ["user_created", "password_set", "user_deleted"] {
        write(&t, event_type).await.unwrap();
    }
    // The newest is purged: its number is not given again.
    t.sql("DELETE FROM user_events WHERE type = 'user_deleted'")
        .await
        .unwrap();
    let before = events(&t).await;
    let first = t
        .sql_value("SELECT min(sequence) AS value FROM user_events")
        .await
        .unwrap();
    // PostgreSQL has given a number to the event that it refused.
    let numbered = |after: &[i64]| -> Vec<String> {
        let first: i64 = first.parse().unwrap();
        after.iter().map(|offset| (first + offset).to_string()).collect()
    };

    migrate(&t, &["up"]).await;

    assert_eq!(events(&t).await, before);
    write(&t, "oauth_account_unlinked").await.unwrap();
    write(&t, "user_created").await.unwrap();
    let rows = t
        .sql_values("SELECT sequence AS value FROM user_events ORDER BY sequence")
        .await;
    let numbers: Vec<String> = rows.into_iter().flatten().collect();
    assert_eq!(numbers, numbered(&[0, 1, 3, 4]));

    // The version before cannot read the new types; the others stay, and so does the counter.
    migrate(&t, &["down", "--steps", &steps]).await;
    let left = t
        .sql_values("SELECT sequence AS value FROM user_events ORDER BY sequence")
        .await;
    let kept: Vec<String> = left.into_iter().flatten().collect();
    assert_eq!(kept, numbered(&[0, 1, 4]));
    assert_eq!(events(&t).await[..2], before);
    write(&t, "password_set").await.unwrap();
    let newest = t
        .sql_value("SELECT max(sequence) AS value FROM user_events")
        .await;
    assert_eq!(newest.as_ref(), numbered(&[5]).first());
    assert!(write(&t, "oauth_account_linked").await.is_err());
}
