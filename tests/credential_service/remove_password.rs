//! `RemovePassword`: never the last way to sign in.

use futures_util::future::join_all;
use identity::proto::identity::v1::RemovePasswordRequest;
use tonic::Code;

use super::calls::{remove_password, stored_hash};
use crate::support::{Behaviour, PASSWORD, Test, behaviours};
use crate::user_service::calls::{NOBODY, assert_failed};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        f15_the_last_credential_stays,
        p10_a_removal_ends_every_session,
        p11_nobody_signs_in_with_a_password_that_was_removed,
        a_user_without_a_password_is_returned_unchanged,
    ]
}

const EMAIL: &str = "ada@example.com";

fn removal(user_id: &str) -> RemovePasswordRequest {
    RemovePasswordRequest {
        user_id: user_id.to_owned(),
        ..RemovePasswordRequest::default()
    }
}

async fn f15_the_last_credential_stays(t: Test) {
    let server = t.start().await;
    let (user, tokens) = server.signed_in(EMAIL).await;
    for outcome in join_all((0..20).map(|_| remove_password(&server, removal(&user.id)))).await {
        assert_failed(outcome, Code::FailedPrecondition, "LAST_CREDENTIAL");
    }
    assert!(server.is_active(&tokens.access_token).await);
    server.sign_in(EMAIL, PASSWORD).await.unwrap();
    assert_failed(
        remove_password(&server, removal(NOBODY)).await,
        Code::NotFound,
        "USER_NOT_FOUND",
    );
}

async fn p10_a_removal_ends_every_session(t: Test) {
    let server = t.start().await;
    let (user, tokens) = server.signed_in(EMAIL).await;
    t.begin_with_google().await;

    let removed = remove_password(&server, removal(&user.id)).await.unwrap();

    assert!(!removed.password_set);
    assert_eq!(stored_hash(&t, EMAIL).await, None);
    assert!(!server.is_active(&tokens.access_token).await);
    server.refresh(&tokens.refresh_token).await.unwrap_err();
}

async fn p11_nobody_signs_in_with_a_password_that_was_removed(t: Test) {
    let server = t.start().await;
    let user = server.create_with_password(EMAIL).await;
    t.begin_with_google().await;
    remove_password(&server, removal(&user.id)).await.unwrap();
    let before = server.computed_hashes().await;

    assert_failed(
        server.sign_in(EMAIL, PASSWORD).await,
        Code::Unauthenticated,
        "INVALID_CREDENTIALS",
    );

    assert_eq!(server.computed_hashes().await - before, 1);
}

async fn a_user_without_a_password_is_returned_unchanged(t: Test) {
    let server = t.start().await;
    let user = server.create_user(EMAIL).await;
    let same = remove_password(&server, removal(&user.id)).await.unwrap();
    assert_eq!(same, user);
}
