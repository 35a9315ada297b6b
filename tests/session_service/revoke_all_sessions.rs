//! `RevokeAllSessions`.

use chrono::TimeDelta;
use futures_util::future::join_all;
use identity::proto::identity::v1::SessionEndReason;
use tonic::Code;

use super::calls::{live_tokens, reason, revoke, revoke_all, session, session_ids, signed_in_again};
use crate::support::{Behaviour, Test, behaviours};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        every_live_session_of_the_user_ends_and_is_counted,
        sessions_that_have_expired_are_not_counted,
        of_parallel_calls_each_session_is_counted_once,
        an_unknown_user_is_not_found,
    ]
}

async fn every_live_session_of_the_user_ends_and_is_counted(t: Test) {
    let server = t.start().await;
    let replica = t.start().await;
    let (ada, first) = server.signed_in("ada@example.com").await;
    let (_, others) = server.signed_in("bob@example.com").await;
    let second = signed_in_again(&server, "ada@example.com").await;
    let refreshed = server.refresh(&second.refresh_token).await.unwrap();
    let revoked = signed_in_again(&server, "ada@example.com").await;
    revoke(&server, &revoked.session_id).await.unwrap();

    assert_eq!(revoke_all(&server, &ada.id).await.unwrap(), 2);

    for tokens in [&first, &refreshed] {
        let ended = session(&replica, &tokens.session_id).await.unwrap();
        assert_eq!(ended.end_reason(), SessionEndReason::Revoked);
        assert_eq!(live_tokens(&t, &tokens.session_id).await, 0);
        assert!(!replica.is_active(&tokens.access_token).await);
        let outcome = replica.refresh(&tokens.refresh_token).await;
        assert_eq!(reason(&outcome), "SESSION_ENDED");
    }
    assert!(replica.is_active(&others.access_token).await);
    server.refresh(&others.refresh_token).await.unwrap();
    assert_eq!(revoke_all(&server, &ada.id).await.unwrap(), 0);

    // Right afterwards, in the same millisecond if need be.
    let again = signed_in_again(&replica, "ada@example.com").await;
    assert!(server.is_active(&again.access_token).await);
    assert_eq!(session_ids(&server, &ada.id, false).await, [again.session_id]);
}

async fn sessions_that_have_expired_are_not_counted(t: Test) {
    let server = t.start_with(&[("IDENTITY_SESSION_IDLE_LIFETIME", "1h")]).await;
    let (ada, expired) = server.signed_in("ada@example.com").await;
    server.clock.advance(TimeDelta::hours(1));
    signed_in_again(&server, "ada@example.com").await;

    assert_eq!(revoke_all(&server, &ada.id).await.unwrap(), 1);

    let outcome = server.refresh(&expired.refresh_token).await;
    assert!(outcome.is_err(), "{outcome:?}");
}

async fn of_parallel_calls_each_session_is_counted_once(t: Test) {
    let server = t.start().await;
    let replica = t.start().await;
    let (ada, _) = server.signed_in("ada@example.com").await;
    for _ in 0..9 {
        signed_in_again(&server, "ada@example.com").await;
    }

    let counts = join_all((0..10).map(|number| {
        let clients = if number % 2 == 0 { &server } else { &replica };
        revoke_all(clients, &ada.id)
    }))
    .await;

    assert_eq!(counts.into_iter().map(Result::unwrap).sum::<i32>(), 10);
}

async fn an_unknown_user_is_not_found(t: Test) {
    let server = t.start().await;
    let (_, tokens) = server.signed_in("ada@example.com").await;

    // The id of a session is not that of a user.
    let failure = revoke_all(&server, &tokens.session_id).await.unwrap_err();

    assert_eq!(failure.code(), Code::NotFound);
    assert_eq!(failure.reason(), "USER_NOT_FOUND");
    assert!(server.is_active(&tokens.access_token).await);
}
