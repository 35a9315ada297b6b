//! `SignOut`.

use chrono::TimeDelta;
use futures_util::future::join_all;
use identity::proto::identity::v1::SessionEndReason;
use tonic::Code;

use crate::session_service::calls::{
    live_tokens, reason, revoke, session, session_ids, sign_out, signed_in_again,
};
use crate::support::{Behaviour, Clients, Test, behaviours};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        t14_the_session_ends_on_every_server_at_once,
        signing_out_again_is_not_an_error,
        an_earlier_token_of_the_session_signs_out_too,
        every_session_of_the_user_is_signed_out_if_asked_for,
        of_parallel_calls_each_session_is_counted_once,
        a_session_that_has_expired_or_was_revoked_is_not_counted,
        t11_what_is_not_a_refresh_token_signs_nobody_out,
    ]
}

async fn t14_the_session_ends_on_every_server_at_once(t: Test) {
    let server = t.start().await;
    let replica = t.start().await;
    let (_, tokens) = server.signed_in("ada@example.com").await;
    let other = signed_in_again(&server, "ada@example.com").await;

    let ended = sign_out(&server, &tokens.refresh_token, false).await;

    assert_eq!(ended.unwrap(), 1);
    let stored = session(&replica, &tokens.session_id).await.unwrap();
    assert_eq!(stored.end_reason(), SessionEndReason::SignedOut);
    assert!(stored.end_time.is_some());
    assert_eq!(live_tokens(&t, &tokens.session_id).await, 0);
    for clients in [&replica, &server] {
        assert!(!clients.is_active(&tokens.access_token).await);
        let outcome = clients.refresh(&tokens.refresh_token).await;
        assert_eq!(outcome.as_ref().unwrap_err().code(), Code::Unauthenticated);
        assert_eq!(reason(&outcome), "SESSION_ENDED");
    }
    assert!(replica.is_active(&other.access_token).await);
    replica.refresh(&other.refresh_token).await.unwrap();
}

async fn signing_out_again_is_not_an_error(t: Test) {
    let server = t.start().await;
    let (user, tokens) = server.signed_in("ada@example.com").await;
    assert_eq!(sign_out(&server, &tokens.refresh_token, false).await.unwrap(), 1);
    let first = session(&server, &tokens.session_id).await.unwrap();
    server.clock.advance(TimeDelta::minutes(1));

    assert_eq!(sign_out(&server, &tokens.refresh_token, false).await.unwrap(), 0);

    assert_eq!(session(&server, &tokens.session_id).await.unwrap(), first);
    // Neither is it one of whoever has been deleted.
    crate::session_service::calls::delete(&server, &user.id)
        .await
        .unwrap();
    for all_sessions in [false, true] {
        let outcome = sign_out(&server, &tokens.refresh_token, all_sessions).await;
        assert_eq!(outcome.unwrap(), 0);
    }
}

async fn an_earlier_token_of_the_session_signs_out_too(t: Test) {
    let server = t.start().await;
    let (_, first) = server.signed_in("ada@example.com").await;
    let second = server.refresh(&first.refresh_token).await.unwrap();
    let third = server.refresh(&second.refresh_token).await.unwrap();

    assert_eq!(sign_out(&server, &first.refresh_token, false).await.unwrap(), 1);

    let outcome = server.refresh(&third.refresh_token).await;
    assert_eq!(reason(&outcome), "SESSION_ENDED");
    let stored = session(&server, &first.session_id).await.unwrap();
    assert_eq!(stored.end_reason(), SessionEndReason::SignedOut);
    for tokens in [first, second, third] {
        assert!(!server.is_active(&tokens.access_token).await);
    }
}

async fn every_session_of_the_user_is_signed_out_if_asked_for(t: Test) {
    let server = t.start().await;
    let (user, first) = server.signed_in("ada@example.com").await;
    let (_, others) = server.signed_in("bob@example.com").await;
    let second = signed_in_again(&server, "ada@example.com").await;
    let revoked = signed_in_again(&server, "ada@example.com").await;
    revoke(&server, &revoked.session_id).await.unwrap();

    assert_eq!(sign_out(&server, &first.refresh_token, true).await.unwrap(), 2);

    for tokens in [&first, &second] {
        let stored = session(&server, &tokens.session_id).await.unwrap();
        assert_eq!(stored.end_reason(), SessionEndReason::SignedOut);
        assert!(!server.is_active(&tokens.access_token).await);
        let outcome = server.refresh(&tokens.refresh_token).await;
        assert_eq!(reason(&outcome), "SESSION_ENDED");
    }
    let stored = session(&server, &revoked.session_id).await.unwrap();
    assert_eq!(stored.end_reason(), SessionEndReason::Revoked);
    assert!(server.is_active(&others.access_token).await);
    server.refresh(&others.refresh_token).await.unwrap();

    // The token of a session that has ended still shows whose sessions are meant.
    let again = signed_in_again(&server, "ada@example.com").await;
    assert_eq!(sign_out(&server, &first.refresh_token, true).await.unwrap(), 1);
    assert!(!server.is_active(&again.access_token).await);
    assert_eq!(session_ids(&server, &user.id, false).await, Vec::<String>::new());
}

async fn of_parallel_calls_each_session_is_counted_once(t: Test) {
    let server = t.start().await;
    let replica = t.start().await;
    for all_sessions in [false, true] {
        let email = format!("ada.{all_sessions}@example.com");
        let (_, tokens) = server.signed_in(&email).await;
        for _ in 0..4 {
            signed_in_again(&server, &email).await;
        }

        let counts = join_all((0..12).map(|number| {
            let clients: &Clients = if number % 2 == 0 { &server } else { &replica };
            sign_out(clients, &tokens.refresh_token, all_sessions)
        }))
        .await;

        let expected = if all_sessions { 5 } else { 1 };
        let counted: i32 = counts.into_iter().map(Result::unwrap).sum();
        assert_eq!(counted, expected);
    }
}

async fn a_session_that_has_expired_or_was_revoked_is_not_counted(t: Test) {
    let server = t.start_with(&[("IDENTITY_SESSION_IDLE_LIFETIME", "1h")]).await;
    let (_, expired) = server.signed_in("ada@example.com").await;
    server.clock.advance(TimeDelta::hours(1));
    let revoked = signed_in_again(&server, "ada@example.com").await;
    revoke(&server, &revoked.session_id).await.unwrap();

    for tokens in [&expired, &revoked] {
        assert_eq!(sign_out(&server, &tokens.refresh_token, false).await.unwrap(), 0);
        let outcome = server.refresh(&tokens.refresh_token).await;
        assert_eq!(reason(&outcome), "SESSION_ENDED");
    }
}

async fn t11_what_is_not_a_refresh_token_signs_nobody_out(t: Test) {
    let server = t.start().await;
    let (_, tokens) = server.signed_in("ada@example.com").await;
    let token = tokens.refresh_token.as_str();
    let cut = &token[..token.len() - 1];
    let changed = token.replace(&token[10..11], if &token[10..11] == "A" { "B" } else { "A" });

    for garbage in [
        "garbage",
        "idr_",
        cut,
        &format!("{token}A"),
        &format!(" {token}"),
        &changed,
        &tokens.access_token,
        &"x".repeat(4096),
    ] {
        let outcome = sign_out(&server, garbage, true).await;
        assert_eq!(outcome.as_ref().unwrap_err().code(), Code::Unauthenticated);
        assert_eq!(reason(&outcome), "TOKEN_INVALID", "{garbage}");
    }
    for (malformed, expected) in [
        (String::new(), "FIELD_REQUIRED"),
        ("x".repeat(4097), "VALUE_OUT_OF_RANGE"),
        (format!("{token}\0"), "INVALID_FORMAT"),
    ] {
        let failure = sign_out(&server, &malformed, true).await.unwrap_err();
        assert_eq!(failure.code(), Code::InvalidArgument);
        assert_eq!(
            failure.fields(),
            [("refresh_token".to_owned(), expected.to_owned())]
        );
    }
    assert!(server.is_active(&tokens.access_token).await);
    server.refresh(token).await.unwrap();
}
