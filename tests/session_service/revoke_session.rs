//! `RevokeSession`.

use chrono::TimeDelta;
use futures_util::future::join_all;
use identity::proto::identity::v1::SessionEndReason;
use tonic::Code;

use super::calls::{live_tokens, reason, revoke, session, sign_out, signed_in_again};
use crate::support::{Behaviour, Test, behaviours};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        t14_a_revoked_session_is_dead_on_every_server_at_once,
        a_session_that_has_ended_is_returned_unchanged,
        of_many_revocations_one_ends_the_session,
        an_unknown_session_is_not_found,
    ]
}

async fn t14_a_revoked_session_is_dead_on_every_server_at_once(t: Test) {
    let server = t.start().await;
    let replica = t.start().await;
    let (_, tokens) = server.signed_in("ada@example.com").await;
    let other = signed_in_again(&server, "ada@example.com").await;
    assert!(replica.is_active(&tokens.access_token).await);

    let ended = revoke(&server, &tokens.session_id).await.unwrap();

    assert_eq!(ended.id, tokens.session_id);
    assert_eq!(ended.end_reason(), SessionEndReason::Revoked);
    assert!(ended.end_time.is_some());
    assert_eq!(session(&replica, &tokens.session_id).await.unwrap(), ended);
    assert_eq!(live_tokens(&t, &tokens.session_id).await, 0);
    for clients in [&replica, &server] {
        assert!(!clients.is_active(&tokens.access_token).await);
        let outcome = clients.refresh(&tokens.refresh_token).await;
        assert_eq!(reason(&outcome), "SESSION_ENDED");
    }
    // It is one session that ends, not the user.
    assert!(replica.is_active(&other.access_token).await);
    replica.refresh(&other.refresh_token).await.unwrap();
}

async fn a_session_that_has_ended_is_returned_unchanged(t: Test) {
    let server = t.start().await;
    let (_, tokens) = server.signed_in("ada@example.com").await;
    let first = revoke(&server, &tokens.session_id).await.unwrap();
    server.clock.advance(TimeDelta::minutes(1));

    assert_eq!(revoke(&server, &tokens.session_id).await.unwrap(), first);

    let signed_out = signed_in_again(&server, "ada@example.com").await;
    sign_out(&server, &signed_out.refresh_token, false).await.unwrap();
    let before = session(&server, &signed_out.session_id).await.unwrap();
    let after = revoke(&server, &signed_out.session_id).await.unwrap();
    assert_eq!(after, before);
    assert_eq!(after.end_reason(), SessionEndReason::SignedOut);
}

async fn of_many_revocations_one_ends_the_session(t: Test) {
    let server = t.start().await;
    let replica = t.start().await;
    let (_, tokens) = server.signed_in("ada@example.com").await;

    let outcomes = join_all((0..20).map(|number| {
        let clients = if number % 2 == 0 { &server } else { &replica };
        revoke(clients, &tokens.session_id)
    }))
    .await;

    let stored = session(&server, &tokens.session_id).await.unwrap();
    for outcome in outcomes {
        assert_eq!(outcome.unwrap(), stored);
    }
}

async fn an_unknown_session_is_not_found(t: Test) {
    let server = t.start().await;
    let (ada, tokens) = server.signed_in("ada@example.com").await;

    let failure = revoke(&server, &ada.id).await.unwrap_err();

    assert_eq!(failure.code(), Code::NotFound);
    assert_eq!(failure.reason(), "SESSION_NOT_FOUND");
    let malformed = revoke(&server, "").await.unwrap_err();
    assert_eq!(
        malformed.fields(),
        [("session_id".to_owned(), "FIELD_REQUIRED".to_owned())]
    );
    assert!(server.is_active(&tokens.access_token).await);
}
