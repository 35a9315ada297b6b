//! Callers that go away while their change waits in the database.

use std::time::Duration;

use tonic::{Code, Request};

use super::blocker::Blocker;
use super::{backends, one_has_begun, pool, rename, renaming};
use crate::security_service::calls::lockout_of_user;
use crate::support::{Backend, Behaviour, Test, TestServer, behaviours, eventually};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        a_change_whose_deadline_passes_leaves_no_transaction_open,
        a_change_whose_caller_goes_away_leaves_no_transaction_open,
        a_waiting_change_whose_caller_goes_away_never_begins,
        an_attempt_whose_caller_goes_away_while_it_is_counted_is_taken_back,
    ]
}

const PATIENT: [(&str, &str); 6] = [
    ("IDENTITY_DATABASE_POOL_MAX_SIZE", "2"),
    ("IDENTITY_DATABASE_POOL_ACQUIRE_TIMEOUT", "60s"),
    ("IDENTITY_DATABASE_LOCK_TIMEOUT", "60s"),
    ("IDENTITY_DATABASE_STATEMENT_TIMEOUT", "60s"),
    ("IDENTITY_DATABASE_BUSY_TIMEOUT", "60s"),
    ("IDENTITY_MAX_DEADLINE", "60s"),
];

/// Checks that nothing is left of changes that were given up.
async fn assert_clean(t: &Test, server: &TestServer, id: &str) {
    eventually("every connection is free", async || {
        let writer = pool(server, "writer").await;
        writer.size == writer.idle && writer.waiting == 0
    })
    .await;
    if t.backend == Backend::Postgres {
        let open = backends(t, "(state LIKE 'idle in transaction%' OR state = 'active')").await;
        assert_eq!(open, Vec::<String>::new());
    }
    // An open transaction would hold its locks, or would take these changes with it when it is rolled back.
    for number in 0..4 {
        let name = format!("Later {number}");
        assert_eq!(rename(server, id, &name).await.unwrap().full_name, name);
    }
    let name = t.sql_value("SELECT full_name AS value FROM users").await;
    assert_eq!(name.as_deref(), Some("Later 3"));
}

async fn a_change_whose_deadline_passes_leaves_no_transaction_open(t: Test) {
    let server = t.start_with(&PATIENT).await;
    let ada = server.create_user("ada@example.com").await;
    for _ in 0..3 {
        let blocker = Blocker::of_users(&t).await;
        let mut request = Request::new(renaming(&ada.id, "Ada"));
        request.set_timeout(Duration::from_millis(150));

        let outcome = server.users().update_user(request).await;

        let code = outcome.unwrap_err().code();
        // The client counts the time, too, and may be the first to give up.
        assert!(
            matches!(code, Code::DeadlineExceeded | Code::Cancelled),
            "{code:?}"
        );
        blocker.release().await;
        assert_clean(&t, &server, &ada.id).await;
    }
}

async fn a_change_whose_caller_goes_away_leaves_no_transaction_open(t: Test) {
    let server = t.start_with(&PATIENT).await;
    let ada = server.create_user("ada@example.com").await;
    server.wait_until_settled().await;
    for _ in 0..3 {
        let blocker = Blocker::of_users(&t).await;

        tokio::select! {
            outcome = rename(&server, &ada.id, "Ada") => panic!("not blocked: {outcome:?}"),
            () = one_has_begun(&server) => {}
        }

        blocker.release().await;
        assert_clean(&t, &server, &ada.id).await;
    }
}

async fn a_waiting_change_whose_caller_goes_away_never_begins(t: Test) {
    let server = t.start_with(&PATIENT).await;
    let ada = server.create_user("ada@example.com").await;
    server.wait_until_settled().await;
    let blocker = Blocker::of_users(&t).await;
    let second = async {
        one_has_begun(&server).await;
        rename(&server, &ada.id, "First").await
    };

    let (first, second, ()) = tokio::join!(rename(&server, &ada.id, "First"), second, async {
        let waits = |count: i32| {
            let server = &server;
            eventually("calls wait for a connection", async move || {
                let writer = pool(server, "writer").await;
                writer.size - writer.idle + writer.waiting == count
            })
        };
        waits(2).await;
        tokio::select! {
            outcome = rename(&server, &ada.id, "Too late") => panic!("not blocked: {outcome:?}"),
            () = waits(3) => {}
        }
        waits(2).await;
        blocker.release().await;
    });

    first.unwrap();
    second.unwrap();
    let name = t.sql_value("SELECT full_name AS value FROM users").await;
    assert_eq!(name.as_deref(), Some("First"));
    assert_clean(&t, &server, &ada.id).await;
}

async fn an_attempt_whose_caller_goes_away_while_it_is_counted_is_taken_back(t: Test) {
    let server = t.start_with(&PATIENT).await;
    let ada = server.create_with_password("ada@example.com").await;
    let url = t.database_url();
    for _ in 0..3 {
        t.sql("DELETE FROM lockouts").await.unwrap();
        let blocker = match t.backend {
            Backend::Sqlite => Blocker::of_users(&t).await,
            Backend::Postgres => Blocker::holding(&url, "LOCK TABLE lockouts IN EXCLUSIVE MODE").await,
        };

        tokio::select! {
            outcome = server.sign_in("ada@example.com", "a wrong password") => {
                panic!("not blocked: {outcome:?}")
            }
            () = eventually("the attempt is being counted", async || match t.backend {
                // Reads take connections of the same pool.
                Backend::Postgres => !backends(&t, "wait_event_type = 'Lock'").await.is_empty(),
                Backend::Sqlite => {
                    let writer = pool(&server, "writer").await;
                    writer.size > writer.idle
                }
            }) => {}
        }
        // What was begun is brought to its end: the count, and then taking it back.
        blocker.release().await;

        let rows = "SELECT count(*) AS value FROM lockouts WHERE failures = 0";
        eventually("nothing is counted", async || {
            t.sql_value(rows).await.as_deref() == Some("2")
        })
        .await;
        let lockout = lockout_of_user(&server, &ada.id).await.unwrap();
        assert_eq!(lockout.failed_attempts, 0);
    }
    assert_eq!(server.computed_hashes().await, 1, "that of the password itself");
    let abandoned = server.metric("identity_hashing_abandoned_total").await;
    assert!((abandoned - 3.0).abs() < f64::EPSILON, "{abandoned}");
}
