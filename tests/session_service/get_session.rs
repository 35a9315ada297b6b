//! `GetSession`.

use identity::proto::identity::v1::{
    AuthProvider, Client, SessionEndReason, SignInMethod, SignInWithPasswordRequest,
};
use tonic::Code;

use super::calls::{session, sign_in_to};
use crate::support::{Behaviour, PASSWORD, Test, behaviours};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        a_session_says_who_signed_in_and_from_where,
        a_refresh_moves_the_times_but_not_the_end,
        an_unknown_session_is_not_found,
        v17_the_id_is_a_uuid_in_either_case,
    ]
}

async fn a_session_says_who_signed_in_and_from_where(t: Test) {
    let server = t.start().await;
    let ada = server.create_with_password("ada@example.com").await;
    let client = Client {
        ip_address: "2001:db8::7".to_owned(),
        user_agent: "Counting Machine/1.0".to_owned(),
        client_id: "web-app_1.0".to_owned(),
    };
    let request = SignInWithPasswordRequest {
        identifier: "ada@example.com".to_owned(),
        password: PASSWORD.to_owned(),
        client: Some(client.clone()),
    };
    let response = server.auth().sign_in_with_password(request).await.unwrap();
    let tokens = response.into_inner().tokens.unwrap();

    let found = session(&server, &tokens.session_id).await.unwrap();

    assert_eq!(found.id, tokens.session_id);
    assert_eq!(found.user_id, ada.id);
    assert_eq!(found.method(), SignInMethod::Password);
    assert_eq!(found.provider(), AuthProvider::Unspecified);
    assert_eq!(found.client, Some(client));
    assert_eq!(found.create_time, found.refresh_time);
    assert_eq!(found.idle_expire_time, tokens.refresh_token_expire_time);
    let seconds = |time: Option<prost_types::Timestamp>| time.unwrap().seconds;
    let begin = seconds(found.create_time);
    assert_eq!(seconds(found.idle_expire_time), begin + 14 * 24 * 3600);
    assert_eq!(seconds(found.expire_time), begin + 30 * 24 * 3600);
    assert_eq!(found.end_time, None);
    assert_eq!(found.end_reason(), SessionEndReason::Unspecified);

    let plain = server.sign_in("ada@example.com", PASSWORD).await.unwrap();
    let other = session(&server, &plain.session_id).await.unwrap();
    assert_eq!(other.client.unwrap().client_id, "default");
}

async fn a_refresh_moves_the_times_but_not_the_end(t: Test) {
    let server = t.start().await;
    let (_, tokens) = server.signed_in("ada@example.com").await;
    let before = session(&server, &tokens.session_id).await.unwrap();
    server.clock.advance(chrono::TimeDelta::hours(1));

    let next = server.refresh(&tokens.refresh_token).await.unwrap();

    let after = session(&server, &tokens.session_id).await.unwrap();
    let seconds = |time: Option<prost_types::Timestamp>| time.unwrap().seconds;
    assert!(seconds(after.refresh_time) >= seconds(before.refresh_time) + 3600);
    assert!(seconds(after.idle_expire_time) >= seconds(before.idle_expire_time) + 3600);
    assert_eq!(after.idle_expire_time, next.refresh_token_expire_time);
    assert_eq!(next.session_id, tokens.session_id);
    assert_eq!(after.expire_time, before.expire_time);
    assert_eq!(after.create_time, before.create_time);
}

async fn an_unknown_session_is_not_found(t: Test) {
    let server = t.start().await;
    let (ada, tokens) = server.signed_in("ada@example.com").await;
    // The id of a user is not that of a session.
    for id in [ada.id.as_str(), "0190a6e1-7d5c-7abc-8def-0123456789ab"] {
        let failure = session(&server, id).await.unwrap_err();
        assert_eq!(failure.code(), Code::NotFound);
        assert_eq!(failure.reason(), "SESSION_NOT_FOUND");
    }
    super::calls::delete(&server, &ada.id).await.unwrap();
    let failure = session(&server, &tokens.session_id).await.unwrap_err();
    assert_eq!(failure.reason(), "SESSION_NOT_FOUND");
}

async fn v17_the_id_is_a_uuid_in_either_case(t: Test) {
    let server = t.start().await;
    server.create_with_password("ada@example.com").await;
    let tokens = sign_in_to(&server, "web", "ada@example.com").await.unwrap();

    let upper = session(&server, &tokens.session_id.to_uppercase()).await;
    assert_eq!(upper.unwrap().id, tokens.session_id);

    let braces = format!("{{{}}}", tokens.session_id);
    for (id, reason) in [
        ("", "FIELD_REQUIRED"),
        ("x", "INVALID_FORMAT"),
        (&braces, "INVALID_FORMAT"),
    ] {
        let failure = session(&server, id).await.unwrap_err();
        assert_eq!(failure.code(), Code::InvalidArgument);
        assert_eq!(failure.fields(), [("session_id".to_owned(), reason.to_owned())]);
    }
}
