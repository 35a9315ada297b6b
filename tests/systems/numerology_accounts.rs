//! The numerology application: Google and Apple accounts of its users.

use identity::clock::Clock;
use identity::proto::google::r#type::Date;
use identity::proto::identity::v1::{
    AuthProvider, LinkOAuthAccountRequest, SignInWithIdTokenRequest, User,
};
use serde_json::json;

use super::numerology::CONFIGURATION;
use crate::oauth_account_service::calls::{link_with, list, unlink};
use crate::support::issuer::{CLIENT_ID, google_claims, shared_issuer};
use crate::support::{Behaviour, Test, TestServer, behaviours};
use crate::user_service::calls::count;

pub fn tests() -> Vec<Behaviour> {
    behaviours![num_14_google_and_apple_accounts_attach_to_one_user]
}

async fn start(t: &Test) -> TestServer {
    let keys_url = shared_issuer().keys_url();
    let providers = [
        ("IDENTITY_GOOGLE_CLIENT_IDS", CLIENT_ID),
        ("IDENTITY_GOOGLE_KEYS_URL", keys_url.as_str()),
        ("IDENTITY_APPLE_CLIENT_IDS", CLIENT_ID),
        ("IDENTITY_APPLE_KEYS_URL", keys_url.as_str()),
        ("IDENTITY_PROVIDER_SIGN_UP", "on"),
    ];
    t.start_with(&[CONFIGURATION, &providers].concat()).await
}

async fn num_14_google_and_apple_accounts_attach_to_one_user(t: Test) {
    let server = start(&t).await;
    let google = google_claims(t.clock.now(), "1", "ada@gmail.com");
    let request = SignInWithIdTokenRequest {
        provider: "google".to_owned(),
        id_token: shared_issuer().sign(&google),
        nonce: google["nonce"].as_str().unwrap().to_owned(),
        ..SignInWithIdTokenRequest::default()
    };
    // Google knows no date of birth, which this application asks of everybody.
    let failure = server.present_id_token(request.clone()).await.unwrap_err();
    let missing = [("user.birth_date".to_owned(), "FIELD_REQUIRED".to_owned())];
    assert_eq!(failure.fields(), missing);
    let request = SignInWithIdTokenRequest {
        user: Some(User {
            birth_date: Some(Date {
                year: 1815,
                month: 12,
                day: 10,
            }),
            ..User::default()
        }),
        ..request
    };
    let user = server.present_id_token(request).await.unwrap().user.unwrap();
    assert_eq!(user.full_name, "Ada Lovelace");

    let mut apple = shared_issuer().claims(&t, "000.ada.1");
    apple["iss"] = json!("https://appleid.apple.com");
    let id_token = shared_issuer().sign(&apple);
    let link = LinkOAuthAccountRequest {
        user_id: user.id.clone(),
        provider: "apple".to_owned(),
        id_token: id_token.clone(),
        ..LinkOAuthAccountRequest::default()
    };
    link_with(&server, link).await.unwrap();

    let response = server.sign_in_with_id_token("apple", &id_token).await.unwrap();
    assert_eq!(response.user.unwrap().id, user.id);
    let accounts = list(&server, &user.id).await.unwrap();
    let known: Vec<(&str, &str)> = accounts
        .iter()
        .map(|account| (account.provider.as_str(), account.subject.as_str()))
        .collect();
    assert_eq!(known, [("google", "1"), ("apple", "000.ada.1")]);
    assert_eq!(count(&t, "users").await, "1");
    // Without the first, the other one is the way in.
    let left = unlink(&server, &user.id, &accounts[0].id).await.unwrap();
    assert_eq!(left.auth_provider(), AuthProvider::Apple);
}
