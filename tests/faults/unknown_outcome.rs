//! The answer to a commit is lost: whoever asks again with the same request id learns what happened.

use tonic::Code;
use uuid::Uuid;

use super::blocker::Blocker;
use super::{backends, renaming, terminate};
use crate::support::{Behaviour, Proxy, Test, TestServer, eventually, new_user, postgres_only};

pub fn tests() -> Vec<Behaviour> {
    postgres_only![
        d03_a_commit_that_happened_unseen_is_found_by_its_request_id,
        d03_a_commit_that_never_happened_is_made_up_for_by_its_request_id,
        d03_a_change_that_happened_unseen_happens_once,
        d03_cuts_at_any_moment_leave_one_user_for_each_request,
    ]
}

/// A commit on `users` waits for this lock: a constraint trigger that is deferred runs within it.
const SLOW_COMMITS: &str = "
    CREATE FUNCTION wait_for_lock() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_advisory_xact_lock_shared(42);
        RETURN NULL;
    END;
    $$;
    CREATE CONSTRAINT TRIGGER wait_for_lock AFTER INSERT OR UPDATE ON users
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_for_lock();
";

/// A connection that waits within its commit.
const COMMITTING: &str = "wait_event_type = 'Lock' AND query ILIKE 'COMMIT%'";

async fn start_behind(t: &Test, proxy: &Proxy) -> TestServer {
    t.start_with(&[
        ("DATABASE_URL", &t.database_url_via(proxy.address())),
        ("IDENTITY_DATABASE_LOCK_TIMEOUT", "60s"),
        ("IDENTITY_DATABASE_STATEMENT_TIMEOUT", "60s"),
    ])
    .await
}

async fn d03_a_commit_that_happened_unseen_is_found_by_its_request_id(t: Test) {
    let proxy = Proxy::start(t.database_address()).await;
    let server = start_behind(&t, &proxy).await;
    t.sql(SLOW_COMMITS).await.unwrap();
    let blocker = Blocker::holding(&t.database_url(), "SELECT pg_advisory_xact_lock(42)").await;
    let request_id = Uuid::new_v4().to_string();
    let ada = new_user().email("ada@example.com").request_id(&request_id);

    let (outcome, ()) = tokio::join!(server.create(ada.clone()), async {
        eventually("the commit waits", async || {
            backends(&t, COMMITTING).await.len() == 1
        })
        .await;
        proxy.cut();
    });

    let failure = outcome.unwrap_err();
    assert_eq!(failure.code(), Code::Unavailable, "{failure:?}");
    assert!(failure.message().contains("may or may not"), "{failure:?}");
    blocker.release().await;
    eventually("the commit is carried out", async || count(&t).await == "1").await;
    let id = t.sql_value("SELECT id AS value FROM users").await.unwrap();
    let found = server.create(ada.clone()).await.unwrap();
    assert_eq!(found.id, id);
    // Without the id it would be another user.
    let again = server.create(new_user().email("ada@example.com")).await;
    assert_eq!(again.unwrap_err().reason(), "EMAIL_TAKEN");
    assert_eq!(count(&t).await, "1");
}

async fn d03_a_commit_that_never_happened_is_made_up_for_by_its_request_id(t: Test) {
    let proxy = Proxy::start(t.database_address()).await;
    let server = start_behind(&t, &proxy).await;
    t.sql(SLOW_COMMITS).await.unwrap();
    let blocker = Blocker::holding(&t.database_url(), "SELECT pg_advisory_xact_lock(42)").await;
    let ada = new_user()
        .email("ada@example.com")
        .request_id(&Uuid::new_v4().to_string());

    let (outcome, ()) = tokio::join!(server.create(ada.clone()), async {
        eventually("the commit waits", async || {
            backends(&t, COMMITTING).await.len() == 1
        })
        .await;
        assert_eq!(terminate(&t, COMMITTING).await, 1);
    });

    // Tried again by itself it might have happened twice.
    assert_eq!(outcome.unwrap_err().code(), Code::Unavailable);
    blocker.release().await;
    assert_eq!(count(&t).await, "0");
    let created = server.create(ada.clone()).await.unwrap();
    assert_eq!(server.create(ada).await.unwrap(), created);
    assert_eq!(count(&t).await, "1");
}

async fn d03_a_change_that_happened_unseen_happens_once(t: Test) {
    let proxy = Proxy::start(t.database_address()).await;
    let server = start_behind(&t, &proxy).await;
    let ada = server.create_user("ada@example.com").await;
    t.sql(SLOW_COMMITS).await.unwrap();
    let blocker = Blocker::holding(&t.database_url(), "SELECT pg_advisory_xact_lock(42)").await;
    let mut request = renaming(&ada.id, "Ada");
    request.request_id = Uuid::new_v4().to_string();
    // Without the record of the request the etag would no longer fit.
    request.user.as_mut().unwrap().etag.clone_from(&ada.etag);

    let mut users = server.users();
    let (outcome, ()) = tokio::join!(users.update_user(request.clone()), async {
        eventually("the commit waits", async || {
            backends(&t, COMMITTING).await.len() == 1
        })
        .await;
        proxy.cut();
    });

    assert_eq!(outcome.unwrap_err().code(), Code::Unavailable);
    blocker.release().await;
    let version = "SELECT version AS value FROM users";
    eventually("the commit is carried out", async || {
        t.sql_value(version).await.as_deref() == Some("2")
    })
    .await;
    let response = server.users().update_user(request).await.unwrap();
    assert_eq!(response.into_inner().user.unwrap().full_name, "Ada");
    assert_eq!(t.sql_value(version).await.as_deref(), Some("2"));
}

async fn d03_cuts_at_any_moment_leave_one_user_for_each_request(t: Test) {
    const CALLS: usize = 100;
    let proxy = Proxy::start(t.database_address()).await;
    let server = start_behind(&t, &proxy).await;

    // So often that calls are met at every stage, and so seldom that some get through.
    let mut pace = tokio::time::interval(std::time::Duration::from_millis(7));
    let cuts = async {
        loop {
            pace.tick().await;
            proxy.cut();
        }
    };
    let calls = futures_util::future::join_all((0..CALLS).map(|number| {
        let call = new_user()
            .email(&format!("user-{number}@example.com"))
            .request_id(&Uuid::new_v4().to_string());
        let server = &server;
        async move {
            let outcome = server.create(call.clone()).await;
            if let Err(failure) = &outcome {
                assert_eq!(failure.code(), Code::Unavailable, "{failure:?}");
            }
            call
        }
    }));
    let sent = tokio::select! {
        sent = calls => sent,
        () = cuts => unreachable!("cuts go on for ever"),
    };

    for call in sent {
        let user = server.create(call.clone()).await.unwrap();
        assert_eq!(server.create(call).await.unwrap(), user);
    }
    assert_eq!(count(&t).await, CALLS.to_string());
}

async fn count(t: &Test) -> String {
    t.sql_value("SELECT count(*) AS value FROM users").await.unwrap()
}
