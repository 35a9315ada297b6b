//! `SignInWithIdToken`: who it is that a provider vouches for. Whose an account is where that could be somebody who is there
//! already is in `id_token_accounts.rs`.

use identity::clock::Clock;
use identity::proto::identity::v1::{
    AuthProvider, Client, LoginAttemptFilter, LoginFailureReason, SignInMethod,
    SignInWithIdTokenRequest, User,
};
use serde_json::json;
use tonic::Code;

use crate::security_service::calls::attempts;
use crate::session_service::calls::{block, deactivate, delete, session};
use crate::support::issuer::{
    CLIENT_ID, Issuer, PROVIDER, google_claims, shared_issuer, with_shared_issuer,
};
use crate::support::{Behaviour, PASSWORD, Test, behaviours};
use crate::user_service::calls::{assert_failed, assert_refused, count};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        a_token_of_googles_real_shape_works_in_both_spellings_of_its_issuer,
        an_account_that_is_nobodys_begins_a_user,
        an_account_that_is_somebodys_signs_that_user_in,
        apple_may_write_its_flag_as_a_text,
        tokens_of_every_algorithm_are_accepted,
        strangers_stay_outside_unless_they_may_sign_up,
        what_every_user_must_have_is_asked_for,
        every_violation_is_reported_at_once,
        e01_e02_whoever_is_kept_out_gets_no_token_and_costs_no_hash,
    ]
}

pub(super) const EMAIL: &str = "ada@example.com";

/// The settings of a server that takes Google's tokens, signed by an issuer here.
pub(super) fn google(issuer: &Issuer) -> [(&'static str, String); 3] {
    [
        ("IDENTITY_GOOGLE_CLIENT_IDS", CLIENT_ID.to_owned()),
        ("IDENTITY_GOOGLE_KEYS_URL", issuer.keys_url()),
        ("IDENTITY_PROVIDER_SIGN_UP", "on".to_owned()),
    ]
}

pub(super) fn borrowed<'a>(settings: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    settings
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect()
}

async fn a_token_of_googles_real_shape_works_in_both_spellings_of_its_issuer(t: Test) {
    let issuer = shared_issuer();
    let settings = google(issuer);
    let server = t.start_with(&borrowed(&settings)).await;
    let mut claims = google_claims(t.clock.now(), "110169484474386276334", "ada.lovelace@gmail.com");
    let nonce = claims["nonce"].as_str().unwrap().to_owned();
    let mut ids = Vec::new();
    for spelling in ["https://accounts.google.com", "accounts.google.com"] {
        claims["iss"] = json!(spelling);
        let request = SignInWithIdTokenRequest {
            provider: "google".to_owned(),
            id_token: issuer.sign(&claims),
            nonce: nonce.clone(),
            ..SignInWithIdTokenRequest::default()
        };
        let response = server.present_id_token(request).await.expect(spelling);
        assert_eq!(response.user_created, ids.is_empty(), "{spelling}");
        let user = response.user.unwrap();
        assert_eq!(user.auth_provider(), AuthProvider::Google);
        assert_eq!(
            (user.email.as_str(), user.full_name.as_str()),
            ("ada.lovelace@gmail.com", "Ada Lovelace")
        );
        assert!(user.email_verified, "Google decides about gmail.com");
        ids.push(user.id);
    }
    assert_eq!(ids[0], ids[1]);
    // Of an organisation, the token has one claim more.
    let mut hosted = google_claims(t.clock.now(), "2", "grace@navy.example");
    hosted["hd"] = json!("navy.example");
    hosted.as_object_mut().unwrap().remove("nonce");
    let response = server
        .sign_in_with_id_token("google", &issuer.sign(&hosted))
        .await;
    assert!(response.unwrap().user.unwrap().email_verified);
    let issuers = t
        .sql_values("SELECT DISTINCT issuer AS value FROM oauth_accounts")
        .await;
    assert_eq!(issuers, [Some("https://accounts.google.com".to_owned())]);
}

async fn an_account_that_is_nobodys_begins_a_user(t: Test) {
    let server = t.start_with(&with_shared_issuer()).await;
    let request = SignInWithIdTokenRequest {
        provider: PROVIDER.to_owned(),
        id_token: shared_issuer().token(&t, "1", "Ada@example.com"),
        client: Some(Client {
            ip_address: "192.0.2.7".to_owned(),
            user_agent: "browser".to_owned(),
            client_id: "web".to_owned(),
        }),
        user: Some(User {
            email: "ignored@example.com".to_owned(),
            username: r"\home\ada".to_owned(),
            full_name: "Ada Lovelace".to_owned(),
            ..User::default()
        }),
        ..SignInWithIdTokenRequest::default()
    };

    let response = server.present_id_token(request).await.unwrap();

    assert!(response.user_created);
    let user = response.user.unwrap();
    assert_eq!(
        (
            user.email.as_str(),
            user.username.as_str(),
            user.full_name.as_str()
        ),
        ("Ada@example.com", r"\home\ada", "Ada Lovelace")
    );
    assert_eq!(user.auth_provider(), AuthProvider::Oidc);
    assert!(!user.password_set && !user.email_verified);
    assert_eq!(server.get(&user.id).await.unwrap(), user);
    let tokens = response.tokens.unwrap();
    assert_eq!(
        server.introspect(&tokens.access_token).await.unwrap().user_id,
        user.id
    );
    let begun = session(&server, &tokens.session_id).await.unwrap();
    assert_eq!(begun.user_id, user.id);
    assert_eq!(
        (begun.method(), begun.provider()),
        (SignInMethod::IdToken, AuthProvider::Oidc)
    );
    assert_eq!(begun.client.unwrap().client_id, "web");
    server
        .auth()
        .refresh_tokens(identity::proto::identity::v1::RefreshTokensRequest {
            refresh_token: tokens.refresh_token,
            client: Some(Client {
                client_id: "web".to_owned(),
                ..Client::default()
            }),
        })
        .await
        .unwrap();
    let listed = attempts(&server, LoginAttemptFilter::default()).await.unwrap();
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(listed[0].method(), SignInMethod::IdToken);
    assert!(listed[0].success && listed[0].user_id == user.id && listed[0].ip_address == "192.0.2.7");
    // There is no password that would be right.
    let failure = server.sign_in("Ada@example.com", PASSWORD).await.unwrap_err();
    assert_eq!(failure.reason(), "INVALID_CREDENTIALS");
}

async fn an_account_that_is_somebodys_signs_that_user_in(t: Test) {
    let server = t.start_with(&with_shared_issuer()).await;
    let first = shared_issuer().token(&t, "1", EMAIL);
    let user = server
        .sign_in_with_id_token(PROVIDER, &first)
        .await
        .unwrap()
        .user
        .unwrap();
    let stored = "SELECT last_sign_in_at AS value FROM oauth_accounts";
    let before = t.sql_value(stored).await;
    t.clock.advance(chrono::TimeDelta::minutes(1));

    // The address at the provider is another one by now; the account is not.
    let second = shared_issuer().token(&t, "1", "ada.king@example.com");
    let response = server.sign_in_with_id_token(PROVIDER, &second).await.unwrap();

    assert!(!response.user_created);
    assert_eq!(response.user.unwrap(), user);
    assert_ne!(t.sql_value(stored).await, before);
    let email = t.sql_value("SELECT email AS value FROM oauth_accounts").await;
    assert_eq!(email.as_deref(), Some("ada.king@example.com"));
    assert_eq!(count(&t, "users").await, "1");
}

async fn apple_may_write_its_flag_as_a_text(t: Test) {
    let issuer = shared_issuer();
    let keys_url = issuer.keys_url();
    let settings = [
        ("IDENTITY_APPLE_CLIENT_IDS", CLIENT_ID),
        ("IDENTITY_APPLE_KEYS_URL", keys_url.as_str()),
        ("IDENTITY_PROVIDER_SIGN_UP", "on"),
    ];
    let server = t.start_with(&settings).await;
    let mut claims = issuer.claims_with_email(&t, "000.a1.1", "x1@privaterelay.appleid.com", true);
    claims["iss"] = json!("https://appleid.apple.com");
    claims["email_verified"] = json!("true");
    // Apple writes no type.
    let header = json!({ "kid": issuer.keys[0].kid, "alg": "RS256" });
    let token = issuer.keys[0].sign_under(&header, &claims);

    let user = server
        .sign_in_with_id_token("apple", &token)
        .await
        .unwrap()
        .user
        .unwrap();

    assert_eq!(user.auth_provider(), AuthProvider::Apple);
    assert_eq!(user.email, "x1@privaterelay.appleid.com");
    assert!(user.email_verified);
}

async fn tokens_of_every_algorithm_are_accepted(t: Test) {
    let issuer = shared_issuer();
    let server = t.start_with(&with_shared_issuer()).await;
    for key in &issuer.keys {
        let alg = key.alg();
        let claims = issuer.claims_with_email(&t, alg, &format!("{alg}@example.com"), true);
        server
            .sign_in_with_id_token(PROVIDER, &key.sign(&claims))
            .await
            .expect(alg);
    }
}

async fn strangers_stay_outside_unless_they_may_sign_up(t: Test) {
    let [providers, _] = with_shared_issuer();
    let server = t.start_with(&[providers]).await;
    let token = shared_issuer().token(&t, "1", EMAIL);
    assert_failed(
        server.sign_in_with_id_token(PROVIDER, &token).await,
        Code::FailedPrecondition,
        "SIGN_UP_DISABLED",
    );
    assert_eq!(count(&t, "users").await, "0");
    assert_eq!(count(&t, "oauth_accounts").await, "0");
}

async fn what_every_user_must_have_is_asked_for(t: Test) {
    let required = ("IDENTITY_REQUIRED_PROFILE_FIELDS", "email,full_name,birth_date");
    let server = t
        .start_with(&[with_shared_issuer().as_slice(), &[required]].concat())
        .await;
    // An address that the provider has not verified is none.
    let claims = shared_issuer().claims_with_email(&t, "1", EMAIL, false);
    let failure = server
        .sign_in_with_id_token(PROVIDER, &shared_issuer().sign(&claims))
        .await
        .unwrap_err();
    let missing = ["user.email", "user.full_name", "user.birth_date"]
        .map(|field| (field.to_owned(), "FIELD_REQUIRED".to_owned()));
    assert_eq!(
        (failure.code(), failure.fields()),
        (Code::InvalidArgument, missing.to_vec())
    );
    assert_eq!(count(&t, "users").await, "0");

    let free = t.start_with(&with_shared_issuer()).await;
    let outcome = free
        .sign_in_with_id_token(PROVIDER, &shared_issuer().sign(&claims))
        .await;
    assert_refused(outcome, "user.username", "FIELD_REQUIRED");
}

async fn every_violation_is_reported_at_once(t: Test) {
    let server = t.start_with(&with_shared_issuer()).await;
    let request = SignInWithIdTokenRequest {
        provider: "nobody".to_owned(),
        id_token: "x".repeat(16 * 1024 + 1),
        nonce: "n".repeat(256),
        client: Some(Client {
            client_id: "a b".to_owned(),
            ..Client::default()
        }),
        user: Some(User {
            username: "ada".to_owned(),
            ..User::default()
        }),
    };
    let failure = server.present_id_token(request).await.unwrap_err();
    let fields: Vec<String> = failure.fields().into_iter().map(|(field, _)| field).collect();
    assert_eq!(
        fields,
        [
            "provider",
            "id_token",
            "nonce",
            "client.client_id",
            "user.username"
        ]
    );
}

async fn e01_e02_whoever_is_kept_out_gets_no_token_and_costs_no_hash(t: Test) {
    let server = t.start_with(&with_shared_issuer()).await;
    let token_of = |name: &str| shared_issuer().token(&t, name, &format!("{name}@example.com"));
    for name in ["blocked", "inactive", "deleted"] {
        let response = server
            .sign_in_with_id_token(PROVIDER, &token_of(name))
            .await
            .unwrap();
        let id = response.user.unwrap().id;
        match name {
            "blocked" => block(&server, &id).await.unwrap(),
            "inactive" => deactivate(&server, &id).await.unwrap(),
            _ => delete(&server, &id).await.unwrap(),
        }
        assert!(!server.is_active(&response.tokens.unwrap().access_token).await);
    }
    let before = server.computed_hashes().await;
    let forged = format!("{}x", token_of("blocked"));
    for (name, code, reason) in [
        (token_of("blocked"), Code::FailedPrecondition, "USER_BLOCKED"),
        (token_of("inactive"), Code::FailedPrecondition, "USER_INACTIVE"),
        // Nothing is said of the user before the token is verified.
        (forged, Code::Unauthenticated, "ID_TOKEN_REJECTED"),
    ] {
        assert_failed(server.sign_in_with_id_token(PROVIDER, &name).await, code, reason);
    }
    assert_eq!(server.computed_hashes().await, before);
    let failures = attempts(
        &server,
        LoginAttemptFilter {
            success: Some(false),
            ..LoginAttemptFilter::default()
        },
    )
    .await
    .unwrap();
    let mut reasons: Vec<LoginFailureReason> =
        failures.iter().map(|attempt| attempt.failure_reason()).collect();
    reasons.sort();
    assert_eq!(
        reasons,
        [LoginFailureReason::UserBlocked, LoginFailureReason::UserInactive]
    );
    // Whoever was deleted comes back as somebody new.
    let again = server
        .sign_in_with_id_token(PROVIDER, &token_of("deleted"))
        .await
        .unwrap();
    assert!(again.user_created);
}
