//! `identity purge`.

use chrono::TimeDelta;

use crate::support::{Behaviour, Test, behaviours, new_user};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        rag_11_what_has_expired_is_removed_and_nothing_else,
        without_a_schema_it_fails,
    ]
}

async fn rag_11_what_has_expired_is_removed_and_nothing_else(t: Test) {
    let server = t.start().await;
    // The clock of the command is that of the machine.
    server.clock.advance(TimeDelta::hours(-25));
    for number in 0..3 {
        let user = new_user().email(&format!("old{number}@example.com"));
        let id = format!("0190a6e1-7d5c-4abc-8def-00000000000{number}");
        server.create(user.request_id(&id)).await.unwrap();
    }
    server.clock.advance(TimeDelta::hours(25));
    let ada = new_user()
        .email("ada@example.com")
        .request_id("0190a6e1-7d5c-4abc-8def-0123456789ab");
    let created = server.create(ada.clone()).await.unwrap();
    assert_eq!(count(&t, "request_ids").await, "4");

    assert_eq!(
        t.run(&[], &["purge"]).await,
        (0, "3 request ids removed\n".to_owned(), String::new())
    );
    assert_eq!(
        t.run(&[], &["purge"]).await,
        (0, "0 request ids removed\n".to_owned(), String::new())
    );

    assert_eq!(count(&t, "request_ids").await, "1");
    assert_eq!(count(&t, "users").await, "4");
    // A retry is still recognised.
    assert_eq!(server.create(ada).await.unwrap(), created);
}

async fn without_a_schema_it_fails(t: Test) {
    let (code, stdout, stderr) = t.run(&[], &["purge"]).await;
    assert_eq!((code, stdout.as_str()), (1, ""), "{stderr}");
    assert!(stderr.starts_with("error: "), "{stderr}");
}

async fn count(t: &Test, table: &str) -> String {
    let query = format!("SELECT count(*) AS value FROM {table}");
    t.sql_value(&query).await.unwrap()
}
