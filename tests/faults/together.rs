//! Calls that wait at the same moment and go to the database together: each is as if it were alone.

use std::iter::once;
use std::time::Duration;

use futures_util::future::join_all;
use identity::proto::identity::v1::lookup_user_request::Identifier;
use identity::proto::identity::v1::{GetUserRequest, LookupUserRequest};
use tonic::{Code, Request};
use uuid::Uuid;

use super::blocker::Blocker;
use super::{backends, one_has_begun, pool, rename};
use crate::support::{Backend, Behaviour, Test, behaviours, eventually, new_user, postgres_only};

pub fn tests() -> Vec<Behaviour> {
    [
        behaviours![
            whoever_reads_after_a_change_sees_it_however_many_read,
            changes_that_wait_together_succeed_and_fail_on_their_own,
        ],
        postgres_only![
            reads_that_wait_together_are_answered_each_for_itself,
            a_value_that_cannot_be_read_fails_nobody_elses_read,
        ],
    ]
    .concat()
}

const PATIENT: [(&str, &str); 5] = [
    ("IDENTITY_DATABASE_POOL_ACQUIRE_TIMEOUT", "60s"),
    ("IDENTITY_DATABASE_LOCK_TIMEOUT", "60s"),
    ("IDENTITY_DATABASE_STATEMENT_TIMEOUT", "60s"),
    ("IDENTITY_DATABASE_BUSY_TIMEOUT", "60s"),
    ("IDENTITY_MAX_DEADLINE", "60s"),
];

async fn whoever_reads_after_a_change_sees_it_however_many_read(t: Test) {
    const CALLERS: usize = 16;
    const CHANGES: usize = 10;
    let server = t.start().await;

    join_all((0..CALLERS).map(|caller| {
        let server = &server;
        async move {
            let email = format!("user-{caller}@example.com");
            let user = server.create(new_user().email(&email)).await.unwrap();
            for change in 0..CHANGES {
                let name = format!("Name {change}");
                let renamed = rename(server, &user.id, &name).await.unwrap();
                assert_eq!(renamed.full_name, name);
                assert_eq!(server.get(&user.id).await.unwrap(), renamed);
                let lookup = LookupUserRequest {
                    identifier: Some(Identifier::Email(email.clone())),
                };
                let found = server.users().lookup_user(lookup).await.unwrap();
                assert_eq!(found.into_inner().user, Some(renamed));
            }
        }
    }))
    .await;
}

async fn changes_that_wait_together_succeed_and_fail_on_their_own(t: Test) {
    const CALLS: usize = 12;
    let server = t.start_with(&PATIENT).await;
    server.create_user("taken@example.com").await;
    server.wait_until_settled().await;
    let blocker = Blocker::of_users(&t).await;

    // Of every three, one is refused; of those who want the same email, all but one.
    let emails: Vec<String> = (0..CALLS)
        .map(|number| match number % 3 {
            0 => "taken@example.com".to_owned(),
            1 => "wanted@example.com".to_owned(),
            _ => format!("user-{number}@example.com"),
        })
        .collect();
    let create = |email: &String| server.create(new_user().email(email));
    let others = async {
        one_has_begun(&server).await;
        join_all(emails[1..].iter().map(create)).await
    };
    let (first, others, ()) = tokio::join!(create(&emails[0]), others, async {
        eventually("all calls wait", async || {
            let writer = pool(&server, "writer").await;
            let in_use = writer.size - writer.idle;
            in_use + writer.waiting == i32::try_from(CALLS).unwrap()
        })
        .await;
        blocker.release().await;
    });

    let mut created = 0;
    let mut wanted = 0;
    for (email, outcome) in emails.iter().zip(once(first).chain(others)) {
        match outcome {
            Ok(user) => {
                assert_eq!(user.email, *email);
                assert_eq!(server.get(&user.id).await.unwrap(), user);
                created += 1;
                wanted += usize::from(email.starts_with("wanted"));
            }
            Err(failure) => {
                assert_eq!(failure.code(), Code::AlreadyExists, "{failure:?}");
                assert!(!email.starts_with("user"), "{email}: {failure:?}");
            }
        }
    }
    assert_eq!((created, wanted), (CALLS / 3 + 1, 1));
    let there = (created + 1).to_string();
    let users = t.sql_value("SELECT count(*) AS value FROM users").await;
    assert_eq!(users.as_deref(), Some(there.as_str()));
    // What was undone has left no event.
    let events = t.sql_value("SELECT count(*) AS value FROM user_events").await;
    assert_eq!(events.as_deref(), Some(there.as_str()));
}

async fn reads_that_wait_together_are_answered_each_for_itself(t: Test) {
    const CALLS: usize = 40;
    let server = t.start_with(&PATIENT).await;
    let mut users = Vec::new();
    for number in 0..4 {
        users.push(server.create_user(&format!("user-{number}@example.com")).await);
    }
    let nobody = Uuid::new_v4().to_string();
    server.wait_until_settled().await;
    let blocker = Blocker::of_users(&t).await;

    let reads = join_all((0..CALLS).map(|number| server.get(&users[number % users.len()].id)));
    let (reads, nothing, ()) = tokio::join!(reads, server.get(&nobody), async {
        // One gives up, and one goes away.
        let mut request = Request::new(GetUserRequest {
            user_id: users[0].id.clone(),
        });
        request.set_timeout(Duration::from_millis(100));
        let code = server.users().get_user(request).await.unwrap_err().code();
        assert!(
            matches!(code, Code::DeadlineExceeded | Code::Cancelled),
            "{code:?}"
        );
        tokio::select! {
            outcome = server.get(&users[1].id) => panic!("not blocked: {outcome:?}"),
            () = eventually("reads wait", async || {
                !backends(&t, "wait_event_type = 'Lock'").await.is_empty()
            }) => {}
        }
        blocker.release().await;
    });

    for (number, read) in reads.into_iter().enumerate() {
        assert_eq!(read.unwrap(), users[number % users.len()]);
    }
    assert_eq!(nothing.unwrap_err().code(), Code::NotFound);
}

/// A date that the service cannot hold, which somebody has written by hand.
async fn a_value_that_cannot_be_read_fails_nobody_elses_read(t: Test) {
    const CALLS: usize = 20;
    let server = t.start_with(&PATIENT).await;
    assert_eq!(t.backend, Backend::Postgres);
    let ada = server.create_user("ada@example.com").await;
    let bad = server.create_user("bad@example.com").await;
    t.sql("UPDATE users SET tokens_valid_after = 'infinity' WHERE email = 'bad@example.com'")
        .await
        .unwrap();
    server.wait_until_settled().await;
    let blocker = Blocker::of_users(&t).await;

    let reads = join_all((0..CALLS).map(|number| {
        let user = if number % 2 == 0 { &ada } else { &bad };
        server.get(&user.id)
    }));
    let (reads, ()) = tokio::join!(reads, async {
        eventually("reads wait", async || {
            backends(&t, "wait_event_type = 'Lock'").await.len() > 1
        })
        .await;
        blocker.release().await;
    });

    for (number, read) in reads.into_iter().enumerate() {
        if number % 2 == 0 {
            assert_eq!(read.unwrap(), ada);
        } else {
            assert_eq!(read.unwrap_err().code(), Code::Internal);
        }
    }
}
