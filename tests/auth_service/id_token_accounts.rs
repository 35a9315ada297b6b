//! `SignInWithIdToken`: whose an account is that nobody has signed in with before, or that looks like another one.

use futures_util::future::join_all;
use identity::clock::Clock;
use identity::proto::identity::v1::{AuthProvider, User};
use serde_json::json;
use tonic::Code;

use super::sign_in_with_id_token::{EMAIL, borrowed, google};
use crate::credential_service::calls::{confirm_verification, create_verification};
use crate::support::issuer::{
    CLIENT_ID, Issuer, PROVIDER, google_claims, shared_issuer, with_shared_issuer,
};
use crate::support::{Behaviour, Clients, PASSWORD, Test, behaviours};
use crate::user_service::calls::{assert_failed, count};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        f04_an_email_of_an_existing_user_is_no_proof,
        f04_the_same_person_beyond_doubt_is_joined,
        f06_a_provider_that_does_not_decide_about_an_address_joins_nobody,
        f09_fifty_first_sign_ins_at_once_begin_one_user,
        f10_one_subject_at_two_issuers_is_two_accounts,
    ]
}

/// Shows that the email of a user is its own.
async fn verify_email(clients: &Clients, user: &User) {
    let token = create_verification(clients, &user.id).await.unwrap().token;
    confirm_verification(clients, &token, "").await.unwrap();
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
