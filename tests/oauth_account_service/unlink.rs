//! `UnlinkOAuthAccount`: what is taken away, and what stays.

use identity::proto::identity::v1::{AuthProvider, UnlinkOAuthAccountRequest, UserEventType};
use tonic::Code;

use super::calls::{enter, link, list, unlink, unlink_with};
use crate::credential_service::calls::set_password;
use crate::security_service::calls::history_types;
use crate::support::issuer::{PROVIDER, shared_issuer, with_shared_issuer};
use crate::support::{Behaviour, PASSWORD, Test, behaviours};
use crate::user_service::calls::{NOBODY, assert_failed, count};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        an_account_that_was_unlinked_is_nobodys,
        what_is_left_says_how_the_account_goes_on,
        an_account_of_somebody_else_does_not_exist,
        sessions_go_on,
        g06_a_stale_etag_unlinks_nothing,
        g07_a_retried_unlinking_changes_nothing,
    ]
}

const EMAIL: &str = "ada@example.com";

async fn an_account_that_was_unlinked_is_nobodys(t: Test) {
    let server = t.start_with(&with_shared_issuer()).await;
    let user = server.create_with_password(EMAIL).await;
    let (account, linked) = link(&t, &server, &user.id, "1").await.unwrap();

    let unlinked = unlink(&server, &user.id, &account.id).await.unwrap();

    assert_ne!(unlinked.etag, linked.etag);
    assert_eq!(server.get(&user.id).await.unwrap(), unlinked);
    assert!(list(&server, &user.id).await.unwrap().is_empty());
    assert_eq!(
        history_types(&server, &user.id).await.last(),
        Some(&UserEventType::OauthAccountUnlinked)
    );
    assert_failed(
        unlink(&server, &user.id, &account.id).await,
        Code::NotFound,
        "OAUTH_ACCOUNT_NOT_FOUND",
    );
    // Whoever signs in with it now is somebody new.
    assert_ne!(enter(&t, &server, "1").await.unwrap().id, user.id);
}

async fn what_is_left_says_how_the_account_goes_on(t: Test) {
    let keys_url = shared_issuer().keys_url();
    let google = [
        ("IDENTITY_GOOGLE_CLIENT_IDS", crate::support::issuer::CLIENT_ID),
        ("IDENTITY_GOOGLE_KEYS_URL", keys_url.as_str()),
    ];
    let server = t
        .start_with(&[with_shared_issuer().as_slice(), &google].concat())
        .await;
    let mut claims = shared_issuer().claims(&t, "g");
    claims["iss"] = serde_json::json!("accounts.google.com");
    claims["email"] = serde_json::json!("ada@gmail.com");
    claims["email_verified"] = serde_json::json!(true);
    let token = shared_issuer().sign(&claims);
    let user = server
        .sign_in_with_id_token("google", &token)
        .await
        .unwrap()
        .user
        .unwrap();
    assert_eq!(user.auth_provider(), AuthProvider::Google);
    let first = list(&server, &user.id).await.unwrap().remove(0);
    let (corp, linked) = link(&t, &server, &user.id, "1").await.unwrap();
    assert_eq!(linked.auth_provider(), AuthProvider::Google);

    let without_google = unlink(&server, &user.id, &first.id).await.unwrap();
    assert_eq!(without_google.auth_provider(), AuthProvider::Oidc);
    assert_failed(
        unlink(&server, &user.id, &corp.id).await,
        Code::FailedPrecondition,
        "LAST_CREDENTIAL",
    );
    let with_password = set_password(&server, &user.id, PASSWORD).await.unwrap();
    assert_eq!(with_password.auth_provider(), AuthProvider::Oidc);
    let last = unlink(&server, &user.id, &corp.id).await.unwrap();
    assert_eq!(last.auth_provider(), AuthProvider::Password);
}

async fn an_account_of_somebody_else_does_not_exist(t: Test) {
    let server = t.start_with(&with_shared_issuer()).await;
    let ada = server.create_with_password(EMAIL).await;
    let bob = server.create_with_password("bob@example.com").await;
    let (account, _) = link(&t, &server, &ada.id, "1").await.unwrap();
    for id in [account.id.as_str(), NOBODY] {
        assert_failed(
            unlink(&server, &bob.id, id).await,
            Code::NotFound,
            "OAUTH_ACCOUNT_NOT_FOUND",
        );
    }
    assert_failed(
        unlink(&server, NOBODY, &account.id).await,
        Code::NotFound,
        "USER_NOT_FOUND",
    );
    assert_eq!(count(&t, "oauth_accounts").await, "1");
}

async fn sessions_go_on(t: Test) {
    let server = t.start_with(&with_shared_issuer()).await;
    let user = server.create_with_password(EMAIL).await;
    let (account, _) = link(&t, &server, &user.id, "1").await.unwrap();
    let token = shared_issuer().token(&t, "1", EMAIL);
    let tokens = server
        .sign_in_with_id_token(PROVIDER, &token)
        .await
        .unwrap()
        .tokens
        .unwrap();
    unlink(&server, &user.id, &account.id).await.unwrap();
    assert!(server.is_active(&tokens.access_token).await);
    server.refresh(&tokens.refresh_token).await.unwrap();
}

async fn g06_a_stale_etag_unlinks_nothing(t: Test) {
    let server = t.start_with(&with_shared_issuer()).await;
    let user = server.create_with_password(EMAIL).await;
    let (account, linked) = link(&t, &server, &user.id, "1").await.unwrap();
    let with_etag = |etag: String| UnlinkOAuthAccountRequest {
        user_id: user.id.clone(),
        account_id: account.id.clone(),
        etag,
        request_id: String::new(),
    };
    assert_failed(
        unlink_with(&server, with_etag(user.etag.clone())).await,
        Code::Aborted,
        "ETAG_MISMATCH",
    );
    unlink_with(&server, with_etag(linked.etag)).await.unwrap();
}

async fn g07_a_retried_unlinking_changes_nothing(t: Test) {
    let server = t.start_with(&with_shared_issuer()).await;
    let user = server.create_with_password(EMAIL).await;
    let (account, _) = link(&t, &server, &user.id, "1").await.unwrap();
    let request = UnlinkOAuthAccountRequest {
        user_id: user.id.clone(),
        account_id: account.id,
        etag: String::new(),
        request_id: "0190a6e1-7d5c-4abc-8def-0123456789ab".to_owned(),
    };
    let first = unlink_with(&server, request.clone()).await.unwrap();
    link(&t, &server, &user.id, "1").await.unwrap();
    let again = unlink_with(&server, request).await.unwrap();
    assert_ne!(again.etag, first.etag, "the user as it is now");
    assert_eq!(list(&server, &user.id).await.unwrap().len(), 1);
}
