//! `GetMe`: who is calling, by the token in the metadata.

use chrono::TimeDelta;
use identity::proto::identity::v1::{GetMeRequest, SessionEndReason, SignInMethod};
use tonic::Code;
use tonic::metadata::AsciiMetadataValue;

use crate::support::{Behaviour, Clients, Failure, PASSWORD, Test, behaviours};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        a_good_token_tells_the_user_and_the_session,
        the_scheme_may_be_written_in_any_case,
        without_a_bearer_token_one_is_asked_for,
        two_tokens_are_as_good_as_none,
        what_is_no_token_is_refused,
        a_token_that_has_expired_is_told_apart,
        a_session_that_has_ended_is_told_apart,
    ]
}

/// Calls with these values of `authorization`.
async fn call_with(server: &Clients, values: &[&[u8]]) -> Result<String, Failure> {
    let mut request = tonic::Request::new(GetMeRequest {});
    for value in values {
        let value = AsciiMetadataValue::try_from(*value).expect("a header value");
        request.metadata_mut().append("authorization", value);
    }
    let response = server.auth().get_me(request).await?;
    Ok(response.into_inner().user.expect("a user").id)
}

async fn assert_refused(server: &Clients, values: &[&[u8]], reason: &str) {
    let failure = call_with(server, values).await.expect_err(reason);
    assert_eq!(
        (failure.code(), failure.reason().as_str()),
        (Code::Unauthenticated, reason),
        "{values:?}"
    );
}

async fn a_good_token_tells_the_user_and_the_session(t: Test) {
    let server = t.start().await;
    let (user, tokens) = server.signed_in("ada@example.com").await;

    let me = server.get_me(&tokens.access_token).await.unwrap();

    // Signing in is no change of the user.
    assert_eq!(me.user.unwrap(), server.get(&user.id).await.unwrap());
    let session = me.session.unwrap();
    assert_eq!((&session.id, &session.user_id), (&tokens.session_id, &user.id));
    assert_eq!(session.method(), SignInMethod::Password);
    assert_eq!(session.end_reason(), SessionEndReason::Unspecified);
    assert_eq!(session.end_time, None);
    assert_eq!(session.idle_expire_time, tokens.refresh_token_expire_time);
    assert!(!session.client.unwrap().client_id.is_empty());
}

async fn the_scheme_may_be_written_in_any_case(t: Test) {
    let server = t.start().await;
    let (user, tokens) = server.signed_in("ada@example.com").await;

    for scheme in ["Bearer", "bearer", "BEARER"] {
        let value = format!("{scheme} {}", tokens.access_token);
        assert_eq!(call_with(&server, &[value.as_bytes()]).await.unwrap(), user.id);
    }
}

async fn without_a_bearer_token_one_is_asked_for(t: Test) {
    let server = t.start().await;
    let (_, tokens) = server.signed_in("ada@example.com").await;
    let token = tokens.access_token.as_str();

    assert_refused(&server, &[], "TOKEN_REQUIRED").await;
    for value in [
        String::new(),
        token.to_owned(),
        format!("Basic {token}"),
        format!("DPoP {token}"),
        format!("Bearer: {token}"),
        format!("Bearer{token}"),
        format!("Bearer\t{token}"),
        format!("Token {token}"),
        "Bearer".to_owned(),
    ] {
        assert_refused(&server, &[value.as_bytes()], "TOKEN_REQUIRED").await;
    }
    let opaque = [b"Bearer ".as_slice(), token.as_bytes(), b"\xff"].concat();
    assert_refused(&server, &[&opaque], "TOKEN_REQUIRED").await;
}

async fn two_tokens_are_as_good_as_none(t: Test) {
    let server = t.start().await;
    let (_, ada) = server.signed_in("ada@example.com").await;
    let (_, bob) = server.signed_in("bob@example.com").await;
    let ada = format!("Bearer {}", ada.access_token);
    let bob = format!("Bearer {}", bob.access_token);

    for values in [
        [ada.as_bytes(), bob.as_bytes()].as_slice(),
        &[ada.as_bytes(), ada.as_bytes()],
        &[ada.as_bytes(), b"Basic YTpi"],
        &[b"", ada.as_bytes()],
        &[ada.as_bytes(), bob.as_bytes(), ada.as_bytes()],
    ] {
        assert_refused(&server, values, "TOKEN_REQUIRED").await;
    }
    // Joined into one, as some proxies do.
    assert_refused(&server, &[format!("{ada}, {bob}").as_bytes()], "TOKEN_INVALID").await;
}

async fn what_is_no_token_is_refused(t: Test) {
    let server = t.start().await;
    let (_, tokens) = server.signed_in("ada@example.com").await;
    let token = tokens.access_token.as_str();

    for text in [
        "x",
        "null",
        "undefined",
        "a.b.c",
        "...",
        &format!("\"{token}\""),
        &format!(" {token}"),
        &format!("Bearer {token}"),
        &format!("{token} {token}"),
        &tokens.refresh_token,
        &"x".repeat(8000),
    ] {
        let value = format!("Bearer {text}");
        assert_refused(&server, &[value.as_bytes()], "TOKEN_INVALID").await;
    }
}

async fn a_token_that_has_expired_is_told_apart(t: Test) {
    let server = t.start().await;
    let (user, tokens) = server.signed_in("ada@example.com").await;
    let value = format!("Bearer {}", tokens.access_token);
    server.clock.advance(TimeDelta::seconds(240));
    assert_eq!(call_with(&server, &[value.as_bytes()]).await.unwrap(), user.id);

    server.clock.advance(TimeDelta::seconds(60));

    assert_refused(&server, &[value.as_bytes()], "TOKEN_EXPIRED").await;
    // The session goes on.
    let next = server.refresh(&tokens.refresh_token).await.unwrap();
    assert_eq!(
        server.get_me(&next.access_token).await.unwrap().user.unwrap().id,
        user.id
    );
}

async fn a_session_that_has_ended_is_told_apart(t: Test) {
    let server = t
        .start_with(&[
            ("IDENTITY_SESSION_IDLE_LIFETIME", "1h"),
            ("IDENTITY_ACCESS_TOKEN_LIFETIME", "2h"),
        ])
        .await;
    let (_, tokens) = server.signed_in("ada@example.com").await;
    let value = format!("Bearer {}", tokens.access_token);
    server.clock.advance(TimeDelta::minutes(59));
    call_with(&server, &[value.as_bytes()]).await.unwrap();

    // An access token that would live longer does not keep its session alive.
    server.clock.advance(TimeDelta::minutes(1));

    assert_refused(&server, &[value.as_bytes()], "SESSION_ENDED").await;
    assert!(!server.is_active(&tokens.access_token).await);
    server.sign_in("ada@example.com", PASSWORD).await.unwrap();
    assert_refused(&server, &[value.as_bytes()], "SESSION_ENDED").await;
}
