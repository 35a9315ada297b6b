//! Changes that get in each other's way.

use futures_util::future::join_all;
use identity::proto::identity::v1::UpdateUserRequest;
use tonic::Code;
use uuid::Uuid;

use super::blocker::Blocker;
use super::{backends, metric, rename, renaming};
use crate::support::{
    Behaviour, Clients, PASSWORD, Test, TestServer, behaviours, eventually, new_user, postgres_only,
};

pub fn tests() -> Vec<Behaviour> {
    [
        behaviours![
            c08_many_changes_of_one_user_each_happen_once,
            c08_two_servers_change_one_user,
            c09_many_changes_of_many_users_all_succeed,
        ],
        postgres_only![
            c08_a_deadlock_is_tried_again,
            c08_a_deadlock_of_a_refresh_is_tried_again,
            c08_a_deadlock_of_a_sign_in_is_tried_again,
            c08_serialization_failures_are_tried_again,
        ],
    ]
    .concat()
}

/// How many calls are made at once.
const CALLS: usize = 60;

/// Sends a change and tells whether it happened; if not, it must have been told to try again.
async fn has_happened(clients: &Clients, request: UpdateUserRequest) -> bool {
    match clients.users().update_user(request).await {
        Ok(_) => true,
        Err(status) => {
            let failure = crate::support::Failure::from(status);
            assert_eq!(failure.code(), Code::Aborted, "{failure:?}");
            assert_eq!(failure.reason(), "CONCURRENT_CHANGE");
            assert!(failure.retry_delay().is_some());
            false
        }
    }
}

async fn version(t: &Test) -> usize {
    let version = t.sql_value("SELECT version AS value FROM users").await;
    version.unwrap().parse().unwrap()
}

/// Changes one user on all servers at once, each change with an id of its own, and checks that as many
/// changes happened as were acknowledged.
async fn change_one_user(t: &Test, servers: &[&TestServer]) -> usize {
    let ada = servers[0].create_user("ada@example.com").await;
    let outcomes = join_all((0..CALLS).map(|number| {
        let request = UpdateUserRequest {
            request_id: Uuid::new_v4().to_string(),
            ..renaming(&ada.id, &format!("Ada {number}"))
        };
        has_happened(servers[number % servers.len()], request)
    }))
    .await;
    let happened = outcomes.into_iter().filter(|happened| *happened).count();
    assert_eq!(version(t).await, 1 + happened);
    happened
}

async fn c08_many_changes_of_one_user_each_happen_once(t: Test) {
    let server = t.start().await;

    let happened = change_one_user(&t, &[&server]).await;

    // One process takes turns.
    assert_eq!(happened, CALLS);
}

async fn c08_two_servers_change_one_user(t: Test) {
    let first = t.start().await;
    let second = t.start().await;

    let happened = change_one_user(&t, &[&first, &second]).await;

    assert!(happened > 0);
}

async fn c09_many_changes_of_many_users_all_succeed(t: Test) {
    let server = t.start().await;

    let outcomes = join_all((0..32).map(|number| {
        let server = &server;
        async move {
            let user = new_user().email(&format!("user-{number}@example.com"));
            let user = server.create(user).await?;
            rename(server, &user.id, "Ada").await?;
            server.get(&user.id).await
        }
    }))
    .await;

    for outcome in outcomes {
        assert_eq!(outcome.unwrap().full_name, "Ada");
    }
}

/// The change holds the record of its request and waits for the user, which another program holds that then
/// wants the record. PostgreSQL ends the one that looks for a deadlock first: the service, after a second.
async fn c08_a_deadlock_is_tried_again(t: Test) {
    let server = t
        .start_with(&[
            ("IDENTITY_DATABASE_LOCK_TIMEOUT", "60s"),
            ("IDENTITY_DATABASE_STATEMENT_TIMEOUT", "60s"),
        ])
        .await;
    let ada = server.create_user("ada@example.com").await;
    let blocker = Blocker::holding(
        &t.database_url(),
        "SET LOCAL deadlock_timeout = '60s'; SELECT * FROM users FOR UPDATE",
    )
    .await;
    let request_id = Uuid::new_v4();
    let request = UpdateUserRequest {
        request_id: request_id.to_string(),
        ..renaming(&ada.id, "Ada")
    };

    let mut users = server.users();
    let (outcome, ()) = tokio::join!(users.update_user(request), async {
        eventually("the change waits", async || {
            backends(&t, "wait_event_type = 'Lock'").await.len() == 1
        })
        .await;
        blocker
            .execute(&format!(
                "INSERT INTO request_ids (caller, method, request_id, fingerprint, user_id, expires_at)
                 VALUES ('anonymous', 'UpdateUser', '{request_id}', sha256(''), '{}', now())",
                ada.id
            ))
            .await
            .expect("the service is ended, not the other program");
        blocker.release().await;
    });

    assert_eq!(outcome.unwrap().into_inner().user.unwrap().full_name, "Ada");
    assert_eq!(version(&t).await, 2);
    let retried = "identity_database_transactions_total{name=\"users::change\",outcome=\"retried\"}";
    assert_eq!(metric(&server, retried).await, 1);
}

async fn c08_serialization_failures_are_tried_again(t: Test) {
    let url = format!(
        "{}?options=-c%20default_transaction_isolation%3Dserializable",
        t.database_url()
    );
    let server = t.start_with(&[("DATABASE_URL", &url)]).await;

    let happened = change_one_user(&t, &[&server]).await;

    assert!(happened > 0);
    let retried = "identity_database_transactions_total{name=\"users::change\",outcome=\"retried\"}";
    assert!(metric(&server, retried).await > 0);
}

const PATIENT: [(&str, &str); 2] = [
    ("IDENTITY_DATABASE_LOCK_TIMEOUT", "60s"),
    ("IDENTITY_DATABASE_STATEMENT_TIMEOUT", "60s"),
];

/// Makes a call that has locked a user when it comes to what another program holds, which then wants the user.
async fn meet<R>(t: &Test, held: &str, call: impl Future<Output = R>) -> R {
    let hold = format!("SET LOCAL deadlock_timeout = '60s'; {held}");
    let blocker = Blocker::holding(&t.database_url(), &hold).await;
    let (outcome, ()) = tokio::join!(call, async {
        eventually("the call waits", async || {
            backends(t, "wait_event_type = 'Lock'").await.len() == 1
        })
        .await;
        blocker
            .execute("SELECT * FROM users FOR UPDATE")
            .await
            .expect("the service is ended, not the other program");
        blocker.release().await;
    });
    outcome
}

async fn c08_a_deadlock_of_a_refresh_is_tried_again(t: Test) {
    let server = t.start_with(&PATIENT).await;
    let (_, tokens) = server.signed_in("ada@example.com").await;

    let refreshing = server.refresh(&tokens.refresh_token);
    let outcome = meet(&t, "SELECT * FROM sessions FOR UPDATE", refreshing).await;

    let next = outcome.unwrap();
    let generation = "SELECT generation AS value FROM sessions";
    assert_eq!(t.sql_value(generation).await.as_deref(), Some("2"));
    let retried = "identity_database_transactions_total{name=\"sessions::refresh\",outcome=\"retried\"}";
    assert_eq!(metric(&server, retried).await, 1);
    server.refresh(&next.refresh_token).await.unwrap();
}

async fn c08_a_deadlock_of_a_sign_in_is_tried_again(t: Test) {
    let server = t.start_with(&PATIENT).await;
    server.create_with_password("ada@example.com").await;

    let signing_in = server.sign_in("ada@example.com", PASSWORD);
    let outcome = meet(&t, "LOCK TABLE login_attempts", signing_in).await;

    let tokens = outcome.unwrap();
    assert!(server.is_active(&tokens.access_token).await);
    for table in ["sessions", "refresh_tokens", "login_attempts"] {
        let rows = format!("SELECT count(*) AS value FROM {table}");
        assert_eq!(t.sql_value(&rows).await.as_deref(), Some("1"), "{table}");
    }
    let retried =
        "identity_database_transactions_total{name=\"sign_ins::complete\",outcome=\"retried\"}";
    assert_eq!(metric(&server, retried).await, 1);
}
