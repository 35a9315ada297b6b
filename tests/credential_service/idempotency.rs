//! Request ids of the methods that set, take away and confirm: a retry changes nothing, another request is refused.

use futures_util::future::join_all;
use identity::proto::identity::v1::{
    ChangePasswordRequest, ConfirmPasswordResetRequest, RemovePasswordRequest, SetPasswordRequest,
};

use super::calls::{
    OTHER_PASSWORD, PATIENT, change_password_with, confirm_reset_with, confirm_verification,
    create_reset, create_verification, remove_password, set_password_with, stored_hash,
};
use crate::support::{Behaviour, PASSWORD, Test, behaviours};
use crate::user_service::calls::{assert_refused, count};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        g07_a_retried_set_password_changes_nothing,
        g07_a_retried_change_of_password_changes_nothing,
        g07_a_retried_removal_changes_nothing,
        g07_a_retried_reset_changes_nothing,
        g07_a_retried_verification_changes_nothing,
        g07_fifty_parallel_resets_with_one_id_have_one_effect,
        g08_a_retried_change_of_password_needs_a_token_of_the_same_user,
    ]
}

const EMAIL: &str = "ada@example.com";
const ID: &str = "7c9e6679-7425-40de-944b-e07fc1f90ae7";

async fn g07_a_retried_set_password_changes_nothing(t: Test) {
    let server = t.start().await;
    let user = server.create_with_password(EMAIL).await;
    let request = SetPasswordRequest {
        user_id: user.id.clone(),
        password: OTHER_PASSWORD.to_owned(),
        etag: user.etag,
        request_id: ID.to_owned(),
    };
    let changed = set_password_with(&server, request.clone()).await.unwrap();
    let hash = stored_hash(&t, EMAIL).await;
    let tokens = server.sign_in(EMAIL, OTHER_PASSWORD).await.unwrap();
    let computed = server.computed_hashes().await;

    let again = set_password_with(&server, request.clone()).await.unwrap();

    assert_eq!(again, changed);
    assert_eq!(stored_hash(&t, EMAIL).await, hash);
    assert_eq!(
        server.computed_hashes().await,
        computed,
        "nothing is hashed again"
    );
    assert!(
        server.is_active(&tokens.access_token).await,
        "nothing is ended again"
    );
    for other in [
        SetPasswordRequest {
            password: "yet another password".to_owned(),
            ..request.clone()
        },
        SetPasswordRequest {
            etag: String::new(),
            ..request.clone()
        },
        SetPasswordRequest {
            user_id: server.create_user("bob@example.com").await.id,
            ..request
        },
    ] {
        let outcome = set_password_with(&server, other).await;
        assert_refused(outcome, "request_id", "REQUEST_ID_REUSED");
    }
    assert_eq!(stored_hash(&t, EMAIL).await, hash);
    assert_eq!(stored_hash(&t, "bob@example.com").await, None);
}

async fn g07_a_retried_change_of_password_changes_nothing(t: Test) {
    let server = t.start().await;
    let (_, tokens) = server.signed_in(EMAIL).await;
    let token = &tokens.access_token;
    let request = ChangePasswordRequest {
        current_password: PASSWORD.to_owned(),
        new_password: OTHER_PASSWORD.to_owned(),
        client: None,
        request_id: ID.to_owned(),
    };
    let changed = change_password_with(&server, token, request.clone())
        .await
        .unwrap();
    let hash = stored_hash(&t, EMAIL).await;
    let computed = server.computed_hashes().await;

    // The change made the access token inactive, and the current password is not the current one any more.
    let again = change_password_with(&server, token, request.clone())
        .await
        .unwrap();

    assert_eq!(again, changed);
    assert_eq!(stored_hash(&t, EMAIL).await, hash);
    assert_eq!(server.computed_hashes().await, computed);
    let next = server.refresh(&tokens.refresh_token).await.unwrap();
    for access_token in [token, &next.access_token] {
        let other = ChangePasswordRequest {
            new_password: "yet another password".to_owned(),
            ..request.clone()
        };
        let outcome = change_password_with(&server, access_token, other).await;
        assert_refused(outcome, "request_id", "REQUEST_ID_REUSED");
    }
    server.sign_in(EMAIL, OTHER_PASSWORD).await.unwrap();
}

async fn g08_a_retried_change_of_password_needs_a_token_of_the_same_user(t: Test) {
    let server = t.start().await;
    let (_, ada) = server.signed_in(EMAIL).await;
    let (bob, bobs_tokens) = server.signed_in("bob@example.com").await;
    let request = ChangePasswordRequest {
        current_password: PASSWORD.to_owned(),
        new_password: OTHER_PASSWORD.to_owned(),
        client: None,
        request_id: ID.to_owned(),
    };
    change_password_with(&server, &ada.access_token, request.clone())
        .await
        .unwrap();

    let forged = change_password_with(&server, "eyJhbGciOiJub25lIn0.e30.", request.clone()).await;
    assert_eq!(forged.unwrap_err().reason(), "TOKEN_INVALID");
    // The same id of another caller is another request.
    let of_bob = change_password_with(&server, &bobs_tokens.access_token, request).await;
    assert_eq!(of_bob.unwrap().id, bob.id);
    for email in [EMAIL, "bob@example.com"] {
        server.sign_in(email, OTHER_PASSWORD).await.unwrap();
    }
}

async fn g07_a_retried_removal_changes_nothing(t: Test) {
    let server = t.start().await;
    let user = server.create_with_password(EMAIL).await;
    // As if the account had begun at a provider.
    t.begin_with_google().await;
    let request = RemovePasswordRequest {
        user_id: user.id.clone(),
        etag: String::new(),
        request_id: ID.to_owned(),
    };
    let removed = remove_password(&server, request.clone()).await.unwrap();
    assert!(!removed.password_set);
    let set = SetPasswordRequest {
        user_id: user.id,
        password: OTHER_PASSWORD.to_owned(),
        ..SetPasswordRequest::default()
    };
    set_password_with(&server, set).await.unwrap();

    let again = remove_password(&server, request.clone()).await.unwrap();

    assert!(again.password_set, "the removal is not repeated");
    server.sign_in(EMAIL, OTHER_PASSWORD).await.unwrap();
    let other = RemovePasswordRequest {
        etag: again.etag,
        ..request
    };
    let outcome = remove_password(&server, other).await;
    assert_refused(outcome, "request_id", "REQUEST_ID_REUSED");
}

async fn g07_a_retried_reset_changes_nothing(t: Test) {
    let server = t.start().await;
    let user = server.create_with_password(EMAIL).await;
    let request = ConfirmPasswordResetRequest {
        token: create_reset(&server, &user.id).await.unwrap(),
        new_password: OTHER_PASSWORD.to_owned(),
        request_id: ID.to_owned(),
    };
    let changed = confirm_reset_with(&server, request.clone()).await.unwrap();
    let hash = stored_hash(&t, EMAIL).await;
    let tokens = server.sign_in(EMAIL, OTHER_PASSWORD).await.unwrap();

    let again = confirm_reset_with(&server, request.clone()).await.unwrap();

    assert_eq!(again, changed);
    assert_eq!(stored_hash(&t, EMAIL).await, hash);
    assert!(server.is_active(&tokens.access_token).await);
    let other = ConfirmPasswordResetRequest {
        new_password: "yet another password".to_owned(),
        ..request.clone()
    };
    let outcome = confirm_reset_with(&server, other).await;
    assert_refused(outcome, "request_id", "REQUEST_ID_REUSED");
    let without_id = ConfirmPasswordResetRequest {
        request_id: String::new(),
        ..request
    };
    let failure = confirm_reset_with(&server, without_id).await.unwrap_err();
    assert_eq!(failure.reason(), "TOKEN_REUSED");
}

async fn g07_a_retried_verification_changes_nothing(t: Test) {
    let server = t.start().await;
    let user = server.create_with_password(EMAIL).await;
    let token = create_verification(&server, &user.id).await.unwrap().token;
    let verified = confirm_verification(&server, &token, ID).await.unwrap();
    assert!(verified.email_verified);

    let again = confirm_verification(&server, &token, ID).await.unwrap();

    assert_eq!(again, verified);
    let other = create_verification(&server, &user.id).await.unwrap().token;
    let outcome = confirm_verification(&server, &other, ID).await;
    assert_refused(outcome, "request_id", "REQUEST_ID_REUSED");
}

async fn g07_fifty_parallel_resets_with_one_id_have_one_effect(t: Test) {
    let server = t.start_with(&PATIENT).await;
    let user = server.create_with_password(EMAIL).await;
    let request = ConfirmPasswordResetRequest {
        token: create_reset(&server, &user.id).await.unwrap(),
        new_password: OTHER_PASSWORD.to_owned(),
        request_id: ID.to_owned(),
    };

    let answers = join_all((0..50).map(|_| confirm_reset_with(&server, request.clone()))).await;

    let first = answers[0].as_ref().unwrap().clone();
    for answer in answers {
        assert_eq!(answer.unwrap(), first);
    }
    assert_eq!(count(&t, "request_ids").await, "1");
    server.sign_in(EMAIL, OTHER_PASSWORD).await.unwrap();
}
