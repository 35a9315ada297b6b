//! `IDENTITY_MAX_SESSIONS_PER_USER`.

use chrono::TimeDelta;
use futures_util::future::join_all;
use identity::proto::identity::v1::{SessionEndReason, Tokens};

use super::calls::{PATIENT, live_tokens, reason, revoke, session, session_ids, signed_in_again};
use crate::support::{Behaviour, Clients, PASSWORD, Test, TestServer, behaviours};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        the_session_that_has_gone_unused_longest_ends,
        only_live_sessions_of_the_user_count,
        parallel_sign_ins_leave_as_many_sessions_as_are_allowed,
        a_sign_in_is_never_the_one_too_many,
    ]
}

const LIMIT: [(&str, &str); 2] = [
    ("IDENTITY_MAX_SESSIONS_PER_USER", "3"),
    ("IDENTITY_SESSION_IDLE_LIFETIME", "2h"),
];

/// Signs in a minute after whatever was before.
async fn sign_in_later(server: &TestServer, email: &str) -> Tokens {
    server.clock.advance(TimeDelta::minutes(1));
    signed_in_again(server, email).await
}

async fn the_session_that_has_gone_unused_longest_ends(t: Test) {
    let server = t.start_with(&LIMIT).await;
    let ada = server.create_with_password("ada@example.com").await;
    let first = sign_in_later(&server, "ada@example.com").await;
    let second = sign_in_later(&server, "ada@example.com").await;
    let third = sign_in_later(&server, "ada@example.com").await;
    server.clock.advance(TimeDelta::minutes(1));
    let first = server.refresh(&first.refresh_token).await.unwrap();

    let fourth = sign_in_later(&server, "ada@example.com").await;

    let ended = session(&server, &second.session_id).await.unwrap();
    assert_eq!(ended.end_reason(), SessionEndReason::SessionLimit);
    assert_eq!(live_tokens(&t, &second.session_id).await, 0);
    assert!(!server.is_active(&second.access_token).await);
    let outcome = server.refresh(&second.refresh_token).await;
    assert_eq!(reason(&outcome), "SESSION_ENDED");
    let live = [&fourth, &third, &first].map(|tokens| tokens.session_id.clone());
    assert_eq!(session_ids(&server, &ada.id, false).await, live);
    for tokens in [&first, &third, &fourth] {
        server.refresh(&tokens.refresh_token).await.unwrap();
    }
}

async fn only_live_sessions_of_the_user_count(t: Test) {
    let server = t.start_with(&LIMIT).await;
    let ada = server.create_with_password("ada@example.com").await;
    let (_, others) = server.signed_in("bob@example.com").await;
    let expired = sign_in_later(&server, "ada@example.com").await;
    server.clock.advance(TimeDelta::minutes(60));
    server.refresh(&others.refresh_token).await.unwrap();
    server.clock.advance(TimeDelta::minutes(59));
    let first = sign_in_later(&server, "ada@example.com").await;
    let revoked = sign_in_later(&server, "ada@example.com").await;
    revoke(&server, &revoked.session_id).await.unwrap();
    sign_in_later(&server, "ada@example.com").await;

    sign_in_later(&server, "ada@example.com").await;

    assert!(server.is_active(&first.access_token).await);
    assert_eq!(session_ids(&server, &ada.id, false).await.len(), 3);
    for tokens in [&expired, &revoked] {
        let untouched = session(&server, &tokens.session_id).await.unwrap();
        assert_ne!(untouched.end_reason(), SessionEndReason::SessionLimit);
    }
    let of_others = session(&server, &others.session_id).await.unwrap();
    assert_eq!(of_others.end_time, None);
}

async fn parallel_sign_ins_leave_as_many_sessions_as_are_allowed(t: Test) {
    let settings = [LIMIT.as_slice(), &PATIENT].concat();
    let server = t.start_with(&settings).await;
    let replica = t.start_with(&settings).await;
    let ada = server.create_with_password("ada@example.com").await;
    for _ in 0..5 {
        let signed_in = join_all((0..12).map(|number| {
            let clients: &Clients = if number % 2 == 0 { &server } else { &replica };
            clients.sign_in("ada@example.com", PASSWORD)
        }))
        .await;

        let live = session_ids(&server, &ada.id, false).await;
        assert_eq!(live.len(), 3);
        for tokens in signed_in {
            let tokens = tokens.unwrap();
            let is_live = live.contains(&tokens.session_id);
            assert_eq!(live_tokens(&t, &tokens.session_id).await, i64::from(is_live));
            assert_eq!(server.is_active(&tokens.access_token).await, is_live);
        }
    }
}

async fn a_sign_in_is_never_the_one_too_many(t: Test) {
    let server = t.start_with(&LIMIT).await;
    let ada = server.create_with_password("ada@example.com").await;
    for _ in 0..3 {
        sign_in_later(&server, "ada@example.com").await;
    }
    // The sessions that are there have been used in what is now the future.
    server.clock.advance(TimeDelta::minutes(-30));

    let tokens = signed_in_again(&server, "ada@example.com").await;

    let begun = session(&server, &tokens.session_id).await.unwrap();
    assert_eq!(begun.end_reason(), SessionEndReason::Unspecified);
    assert!(server.is_active(&tokens.access_token).await);
    assert_eq!(session_ids(&server, &ada.id, false).await.len(), 3);
}
