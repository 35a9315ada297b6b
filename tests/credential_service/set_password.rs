//! `SetPassword`: by the calling service, whatever the password was.

use identity::proto::identity::v1::SetPasswordRequest;
use tonic::Code;

use super::calls::{OTHER_PASSWORD, set_password, set_password_with, stored_hash};
use crate::support::{Behaviour, PASSWORD, Test, behaviours};
use crate::user_service::calls::{NOBODY, assert_failed};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        p10_a_new_password_ends_every_session,
        p14_equal_passwords_have_different_hashes_and_no_reply_has_one,
        a_user_without_a_password_gets_one,
        a_stale_etag_changes_nothing,
        nobody_gets_no_password,
    ]
}

const EMAIL: &str = "ada@example.com";

async fn p10_a_new_password_ends_every_session(t: Test) {
    let server = t.start().await;
    let (user, first) = server.signed_in(EMAIL).await;
    let second = server.sign_in(EMAIL, PASSWORD).await.unwrap();
    let (_, of_bob) = server.signed_in("bob@example.com").await;

    let changed = set_password(&server, &user.id, OTHER_PASSWORD).await.unwrap();

    assert_ne!(changed.etag, user.etag);
    for tokens in [first, second] {
        assert!(!server.is_active(&tokens.access_token).await);
        assert_failed(
            server.refresh(&tokens.refresh_token).await,
            Code::Unauthenticated,
            "SESSION_ENDED",
        );
    }
    assert!(server.is_active(&of_bob.access_token).await);
    server.sign_in(EMAIL, PASSWORD).await.unwrap_err();
    let new = server.sign_in(EMAIL, OTHER_PASSWORD).await.unwrap();
    assert!(server.is_active(&new.access_token).await);
}

async fn p14_equal_passwords_have_different_hashes_and_no_reply_has_one(t: Test) {
    let server = t.start().await;
    let user = server.create_with_password(EMAIL).await;
    let before = stored_hash(&t, EMAIL).await.unwrap();

    let changed = set_password(&server, &user.id, PASSWORD).await.unwrap();

    let after = stored_hash(&t, EMAIL).await.unwrap();
    assert_ne!(after, before);
    assert_eq!(after.len(), 60);
    assert!(!format!("{changed:?}").contains(&after[7..]));
}

async fn a_user_without_a_password_gets_one(t: Test) {
    let server = t.start().await;
    let user = server.create_user(EMAIL).await;
    let changed = set_password(&server, &user.id, PASSWORD).await.unwrap();
    assert!(changed.password_set);
    server.sign_in(EMAIL, PASSWORD).await.unwrap();
}

async fn a_stale_etag_changes_nothing(t: Test) {
    let server = t.start().await;
    let (user, tokens) = server.signed_in(EMAIL).await;
    let request = |etag: &str| SetPasswordRequest {
        user_id: user.id.clone(),
        password: OTHER_PASSWORD.to_owned(),
        etag: etag.to_owned(),
        request_id: String::new(),
    };
    assert_failed(
        set_password_with(&server, request("\"stale\"")).await,
        Code::Aborted,
        "ETAG_MISMATCH",
    );
    assert!(server.is_active(&tokens.access_token).await);
    set_password_with(&server, request(&user.etag)).await.unwrap();
    server.sign_in(EMAIL, OTHER_PASSWORD).await.unwrap();
}

async fn nobody_gets_no_password(t: Test) {
    let server = t.start().await;
    assert_failed(
        set_password(&server, NOBODY, PASSWORD).await,
        Code::NotFound,
        "USER_NOT_FOUND",
    );
    assert_eq!(server.computed_hashes().await, 0);
}
