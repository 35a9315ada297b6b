//! `SignInWithIdToken`: who it is that a provider vouches for.

use futures_util::future::join_all;
use identity::clock::Clock;
use identity::proto::identity::v1::{
    AuthProvider, Client, LoginAttemptFilter, LoginFailureReason, SignInMethod,
    SignInWithIdTokenRequest, User,
};
use serde_json::json;
use tonic::Code;

use crate::credential_service::calls::{confirm_verification, create_verification};
use crate::security_service::calls::attempts;
use crate::session_service::calls::{block, deactivate, delete, session};
use crate::support::issuer::{
    CLIENT_ID, Issuer, PROVIDER, google_claims, shared_issuer, with_shared_issuer,
};
use crate::support::{Behaviour, Clients, PASSWORD, Test, behaviours};
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
        f04_an_email_of_an_existing_user_is_no_proof,
        f04_the_same_person_beyond_doubt_is_joined,
        f06_a_provider_that_does_not_decide_about_an_address_joins_nobody,
        f09_fifty_first_sign_ins_at_once_begin_one_user,
        f10_one_subject_at_two_issuers_is_two_accounts,
        e01_e02_whoever_is_kept_out_gets_no_token_and_costs_no_hash,
    ]
}

const EMAIL: &str = "ada@example.com";

/// The settings of a server that takes Google's tokens, signed by an issuer here.
fn google(issuer: &Issuer) -> [(&'static str, String); 3] {
    [
        ("IDENTITY_GOOGLE_CLIENT_IDS", CLIENT_ID.to_owned()),
        ("IDENTITY_GOOGLE_KEYS_URL", issuer.keys_url()),
        ("IDENTITY_PROVIDER_SIGN_UP", "on".to_owned()),
    ]
}

fn borrowed<'a>(settings: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    settings
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect()
}

/// Shows that the email of a user is its own.
async fn verify_email(clients: &Clients, user: &User) {
    let token = create_verification(clients, &user.id).await.unwrap().token;
    confirm_verification(clients, &token, "").await.unwrap();
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

/// Whatever a provider says about an address that somebody has here, it is not let in as that user.
async fn f04_an_email_of_an_existing_user_is_no_proof(t: Test) {
    let issuer = Issuer::start();
    let authoritative = issuer.setting(PROVIDER, "emails=authoritative");
    let settings = [
        ("IDENTITY_OIDC_PROVIDERS", authoritative.as_str()),
        ("IDENTITY_PROVIDER_SIGN_UP", "on"),
    ];
    let server = t.start_with(&settings).await;
    // Somebody has registered with the address of somebody else, and waits for her.
    let squatter = server.create_with_password(EMAIL).await;
    let token = issuer.token(&t, "1", "ADA@example.com");
    let link_required = |outcome| assert_failed(outcome, Code::FailedPrecondition, "LINK_REQUIRED");
    link_required(server.sign_in_with_id_token(PROVIDER, &token).await.map(drop));

    // Nor if the user has verified it and the provider has not.
    verify_email(&server, &squatter).await;
    for verified in [json!(false), json!("true"), json!(1), json!(null)] {
        let mut claims = issuer.claims_with_email(&t, "1", EMAIL, true);
        claims["email_verified"] = verified;
        let doubtful = issuer.sign(&claims);
        link_required(server.sign_in_with_id_token(PROVIDER, &doubtful).await.map(drop));
    }
    let mut silent = issuer.claims_with_email(&t, "1", EMAIL, true);
    silent.as_object_mut().unwrap().remove("email_verified");
    let unsaid = issuer.sign(&silent);
    link_required(server.sign_in_with_id_token(PROVIDER, &unsaid).await.map(drop));

    // Nor if it is the same address only after normalisation.
    let wide = issuer.token(&t, "1", "\u{ff41}da@example.com");
    link_required(server.sign_in_with_id_token(PROVIDER, &wide).await.map(drop));
    for table in ["oauth_accounts", "sessions", "login_attempts"] {
        assert_eq!(count(&t, table).await, "0", "{table}");
    }
}

async fn f04_the_same_person_beyond_doubt_is_joined(t: Test) {
    let issuer = Issuer::start();
    let authoritative = issuer.setting(PROVIDER, "emails=authoritative");
    let server = t
        .start_with(&[("IDENTITY_OIDC_PROVIDERS", authoritative.as_str())])
        .await;
    let user = server.create_with_password(EMAIL).await;
    verify_email(&server, &user).await;

    let token = issuer.token(&t, "1", "ADA@example.com");
    let response = server.sign_in_with_id_token(PROVIDER, &token).await.unwrap();

    assert!(!response.user_created);
    let joined = response.user.unwrap();
    assert_eq!(joined.id, user.id);
    assert_eq!(joined.auth_provider(), AuthProvider::Password);
    assert_eq!(server.get(&user.id).await.unwrap(), joined);
    server.sign_in(EMAIL, PASSWORD).await.unwrap();
    assert_eq!(count(&t, "oauth_accounts").await, "1");
}

async fn f06_a_provider_that_does_not_decide_about_an_address_joins_nobody(t: Test) {
    let issuer = shared_issuer();
    let settings = google(issuer);
    let server = t.start_with(&borrowed(&settings)).await;
    let user = server.create_with_password(EMAIL).await;
    verify_email(&server, &user).await;
    let mut claims = google_claims(t.clock.now(), "1", EMAIL);
    claims.as_object_mut().unwrap().remove("nonce");
    // Google has verified it, some day; it is not Google who says whose it is today.
    for hosted in [None, Some("")] {
        if let Some(domain) = hosted {
            claims["hd"] = json!(domain);
        }
        assert_failed(
            server
                .sign_in_with_id_token("google", &issuer.sign(&claims))
                .await,
            Code::FailedPrecondition,
            "LINK_REQUIRED",
        );
    }
    // Nobody has this one; the new user has still to show that it is its own.
    claims["email"] = json!("grace@example.com");
    let response = server
        .sign_in_with_id_token("google", &issuer.sign(&claims))
        .await;
    assert!(!response.unwrap().user.unwrap().email_verified);
    // With the organisation's word it is the same person.
    claims["sub"] = json!("2");
    claims["email"] = json!(EMAIL);
    claims["hd"] = json!("example.com");
    let joined = server
        .sign_in_with_id_token("google", &issuer.sign(&claims))
        .await;
    assert_eq!(joined.unwrap().user.unwrap().id, user.id);
}

async fn f09_fifty_first_sign_ins_at_once_begin_one_user(t: Test) {
    let servers = [
        t.start_with(&with_shared_issuer()).await,
        t.start_with(&with_shared_issuer()).await,
    ];
    let token = shared_issuer().token(&t, "1", EMAIL);

    let outcomes =
        join_all((0..50).map(|number| servers[number % 2].sign_in_with_id_token(PROVIDER, &token)))
            .await;

    let mut created = 0;
    for outcome in outcomes {
        let response = outcome.unwrap();
        created += usize::from(response.user_created);
        assert!(servers[0].is_active(&response.tokens.unwrap().access_token).await);
    }
    assert_eq!(created, 1);
    assert_eq!(count(&t, "users").await, "1");
    assert_eq!(count(&t, "oauth_accounts").await, "1");
    assert_eq!(count(&t, "user_events").await, "2");
}

async fn f10_one_subject_at_two_issuers_is_two_accounts(t: Test) {
    let others = [Issuer::start(), Issuer::start()];
    let setting = format!(
        "one {};two {}",
        &others[0].setting("", ""),
        &others[1].setting("", "")
    );
    let keys_url = shared_issuer().keys_url();
    let settings = [
        ("IDENTITY_OIDC_PROVIDERS", setting.as_str()),
        ("IDENTITY_GOOGLE_CLIENT_IDS", CLIENT_ID),
        ("IDENTITY_GOOGLE_KEYS_URL", keys_url.as_str()),
        ("IDENTITY_PROVIDER_SIGN_UP", "on"),
    ];
    let server = t.start_with(&settings).await;
    let mut google = google_claims(t.clock.now(), "1", "google@example.com");
    google.as_object_mut().unwrap().remove("nonce");
    let mut ids = Vec::new();
    for (provider, token) in [
        ("one", others[0].token(&t, "1", "one@example.com")),
        ("two", others[1].token(&t, "1", "two@example.com")),
        ("google", shared_issuer().sign(&google)),
    ] {
        let response = server
            .sign_in_with_id_token(provider, &token)
            .await
            .expect(provider);
        assert!(response.user_created, "{provider}");
        ids.push(response.user.unwrap().id);
        // Nor does another provider take the token, although it would know the key of its own.
        for other in ["one", "two", "google"] {
            if other != provider {
                assert_failed(
                    server.sign_in_with_id_token(other, &token).await,
                    Code::Unauthenticated,
                    "ID_TOKEN_REJECTED",
                );
            }
        }
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3);
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
