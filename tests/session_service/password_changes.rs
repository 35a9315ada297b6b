//! `ChangePassword`, as far as sessions are concerned: that of the caller goes on.

use chrono::TimeDelta;
use identity::proto::identity::v1::SessionEndReason;

use super::calls::{OTHER_PASSWORD, change_password, live_tokens, reason, session, signed_in_again};
use crate::support::{Behaviour, PASSWORD, Test, behaviours};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        p10_the_session_of_the_caller_goes_on_and_the_others_end,
        the_old_access_tokens_of_the_caller_are_not_active,
        p09_a_change_that_fails_touches_no_session,
    ]
}

async fn p10_the_session_of_the_caller_goes_on_and_the_others_end(t: Test) {
    let server = t.start().await;
    let replica = t.start().await;
    let (_, caller) = server.signed_in("ada@example.com").await;
    let other = signed_in_again(&server, "ada@example.com").await;
    let (_, strangers) = server.signed_in("bob@example.com").await;

    change_password(&server, &caller.access_token, PASSWORD, OTHER_PASSWORD)
        .await
        .unwrap();

    let ended = session(&replica, &other.session_id).await.unwrap();
    assert_eq!(ended.end_reason(), SessionEndReason::PasswordChanged);
    assert_eq!(live_tokens(&t, &other.session_id).await, 0);
    assert!(!replica.is_active(&other.access_token).await);
    let outcome = replica.refresh(&other.refresh_token).await;
    assert_eq!(reason(&outcome), "SESSION_ENDED");

    let kept = session(&replica, &caller.session_id).await.unwrap();
    assert_eq!(kept.end_time, None);
    let next = replica.refresh(&caller.refresh_token).await.unwrap();
    assert!(server.is_active(&next.access_token).await);
    let last = server.refresh(&next.refresh_token).await.unwrap();
    assert!(replica.is_active(&last.access_token).await);

    let again = replica.sign_in("ada@example.com", OTHER_PASSWORD).await.unwrap();
    assert!(server.is_active(&again.access_token).await);
    assert!(server.is_active(&strangers.access_token).await);
}

async fn the_old_access_tokens_of_the_caller_are_not_active(t: Test) {
    let server = t.start().await;
    let replica = t.start().await;
    let (_, first) = server.signed_in("ada@example.com").await;
    let second = server.refresh(&first.refresh_token).await.unwrap();
    server.clock.advance(TimeDelta::milliseconds(1));

    change_password(&server, &second.access_token, PASSWORD, OTHER_PASSWORD)
        .await
        .unwrap();

    for tokens in [&first, &second] {
        assert!(!replica.is_active(&tokens.access_token).await);
        let outcome = change_password(&server, &tokens.access_token, OTHER_PASSWORD, PASSWORD).await;
        assert_eq!(reason(&outcome), "SESSION_ENDED");
    }
    // Who lost the answer of the exchange before repeats it, and gets an access token of now.
    let repeated = replica.refresh(&first.refresh_token).await.unwrap();
    assert_eq!(repeated.refresh_token, second.refresh_token);
    assert!(server.is_active(&repeated.access_token).await);
}

async fn p09_a_change_that_fails_touches_no_session(t: Test) {
    let server = t.start().await;
    let (_, caller) = server.signed_in("ada@example.com").await;
    let other = signed_in_again(&server, "ada@example.com").await;

    let wrong = change_password(&server, &caller.access_token, "not the password", OTHER_PASSWORD);
    assert_eq!(reason(&wrong.await), "INVALID_CREDENTIALS");
    let weak = change_password(&server, &caller.access_token, PASSWORD, "short").await;
    assert_eq!(reason(&weak), "PASSWORD_TOO_WEAK");

    for tokens in [&caller, &other] {
        assert!(server.is_active(&tokens.access_token).await);
        server.refresh(&tokens.refresh_token).await.unwrap();
    }
}
