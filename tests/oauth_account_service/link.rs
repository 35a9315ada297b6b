//! `LinkOAuthAccount`: who may, with what proof, and what is on record.

use chrono::TimeDelta;
use futures_util::future::join_all;
use identity::proto::identity::v1::{AuthProvider, LinkOAuthAccountRequest, UserEventType};
use tonic::Code;

use super::calls::{enter, link, link_request, link_with, list, patient, unlink};
use crate::security_service::calls::history_types;
use crate::support::issuer::{PROVIDER, shared_issuer, with_shared_issuer};
use crate::support::{AUTH, Behaviour, PASSWORD, Test, behaviours};
use crate::user_service::calls::{NOBODY, assert_failed, assert_refused, count};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        a_linked_account_signs_its_user_in,
        the_first_credential_says_how_the_account_began,
        linking_again_changes_nothing,
        f08_only_the_user_itself_and_only_a_moment_after_signing_in,
        f08_a_subject_that_is_linked_elsewhere_is_taken,
        f08_a_link_needs_a_good_token,
        f09_of_two_users_who_link_one_subject_one_wins,
        g06_a_stale_etag_links_nothing,
        g07_a_retried_link_happens_once,
        every_violation_is_reported_at_once,
    ]
}

const EMAIL: &str = "ada@example.com";

async fn a_linked_account_signs_its_user_in(t: Test) {
    let server = t.start_with(&with_shared_issuer()).await;
    let user = server.create_with_password(EMAIL).await;

    let (account, linked) = link(&t, &server, &user.id, "1").await.unwrap();

    assert_eq!(account.user_id, user.id);
    assert_eq!(
        (account.provider.as_str(), account.subject.as_str()),
        (PROVIDER, "1")
    );
    assert_eq!(account.issuer, shared_issuer().url());
    assert_eq!(account.email, "1@provider.example");
    assert!(account.email_verified && account.last_sign_in_time.is_none());
    assert_eq!(linked.auth_provider(), AuthProvider::Password);
    assert_ne!(linked.etag, user.etag);
    assert_eq!(server.get(&user.id).await.unwrap(), linked);
    assert_eq!(enter(&t, &server, "1").await.unwrap(), linked);
    let accounts = list(&server, &user.id).await.unwrap();
    assert_eq!(accounts.len(), 1);
    assert!(accounts[0].last_sign_in_time.is_some());
    // The password goes on working.
    server.sign_in(EMAIL, PASSWORD).await.unwrap();
    assert_eq!(
        history_types(&server, &user.id).await,
        [UserEventType::UserCreated, UserEventType::OauthAccountLinked]
    );
}

async fn the_first_credential_says_how_the_account_began(t: Test) {
    let server = t.start_with(&with_shared_issuer()).await;
    let invited = server.create_user(EMAIL).await;
    assert_eq!(invited.auth_provider(), AuthProvider::Unspecified);
    let (_, linked) = link(&t, &server, &invited.id, "1").await.unwrap();
    assert_eq!(linked.auth_provider(), AuthProvider::Oidc);
    assert_eq!(enter(&t, &server, "1").await.unwrap().id, invited.id);
}

async fn linking_again_changes_nothing(t: Test) {
    let server = t.start_with(&with_shared_issuer()).await;
    let user = server.create_with_password(EMAIL).await;
    let first = link(&t, &server, &user.id, "1").await.unwrap();
    let again = link(&t, &server, &user.id, "1").await.unwrap();
    assert_eq!(again, first);
    assert_eq!(count(&t, "user_events").await, "2");
}

async fn f08_only_the_user_itself_and_only_a_moment_after_signing_in(t: Test) {
    let server = t
        .start_with(&[with_shared_issuer().as_slice(), &[AUTH]].concat())
        .await;
    let service = server.with_token(&t.service_token("todo", &["admin"]).await);
    let (ada, tokens) = service.signed_in(EMAIL).await;
    let bob = service.create_with_password("bob@example.com").await;
    let as_ada = server.with_token(&tokens.access_token);

    assert_failed(
        link(&t, &as_ada, &bob.id, "1").await,
        Code::NotFound,
        "USER_NOT_FOUND",
    );
    let reader = server.with_token(&t.service_token("reader", &["users.read", "auth.sign_in"]).await);
    assert_failed(
        link(&t, &reader, &ada.id, "1").await,
        Code::PermissionDenied,
        "PERMISSION_DENIED",
    );
    assert_failed(
        link(&t, &server, &ada.id, "1").await,
        Code::Unauthenticated,
        "TOKEN_REQUIRED",
    );
    let (account, _) = link(&t, &as_ada, &ada.id, "1").await.unwrap();

    // Ten minutes after the sign-in the token is not enough, however fresh it is itself.
    t.clock.advance(TimeDelta::minutes(10) + TimeDelta::seconds(1));
    let later = service.refresh(&tokens.refresh_token).await.unwrap();
    let stale = server.with_token(&later.access_token);
    assert_failed(
        link(&t, &stale, &ada.id, "2").await,
        Code::Unauthenticated,
        "REAUTHENTICATION_REQUIRED",
    );
    assert_failed(
        unlink(&stale, &ada.id, &account.id).await,
        Code::Unauthenticated,
        "REAUTHENTICATION_REQUIRED",
    );
    assert_eq!(list(&stale, &ada.id).await.unwrap().len(), 1);
    // A new sign-in is, and services do not have to sign in.
    let again = service.sign_in(EMAIL, PASSWORD).await.unwrap();
    let fresh = server.with_token(&again.access_token);
    link(&t, &fresh, &ada.id, "2").await.unwrap();
    link(&t, &service, &ada.id, "3").await.unwrap();
    let own = history_types(&service, &ada.id).await;
    assert_eq!(own.len(), 4, "{own:?}");
}

async fn f08_a_subject_that_is_linked_elsewhere_is_taken(t: Test) {
    let server = t.start_with(&with_shared_issuer()).await;
    let ada = server.create_with_password(EMAIL).await;
    let bob = server.create_with_password("bob@example.com").await;
    link(&t, &server, &ada.id, "1").await.unwrap();
    let failure = link(&t, &server, &bob.id, "1").await.unwrap_err();
    assert_eq!(
        (failure.code(), failure.reason().as_str()),
        (Code::AlreadyExists, "IDENTITY_TAKEN")
    );
    // Whose it is, nobody is told.
    assert!(!format!("{failure:?}").contains(&ada.id));
    assert_eq!(failure.resource().unwrap().resource_name, "");
    assert!(list(&server, &bob.id).await.unwrap().is_empty());
    assert_failed(
        link(&t, &server, NOBODY, "2").await,
        Code::NotFound,
        "USER_NOT_FOUND",
    );
}

async fn f08_a_link_needs_a_good_token(t: Test) {
    let server = t.start_with(&with_shared_issuer()).await;
    let user = server.create_with_password(EMAIL).await;
    let mut claims = shared_issuer().claims(&t, "1");
    claims["aud"] = serde_json::json!("other.example");
    let honest = link_request(&t, &user.id, "1");
    for id_token in [
        shared_issuer().sign(&claims),
        format!("{}A", honest.id_token),
        "x".to_owned(),
    ] {
        let request = LinkOAuthAccountRequest {
            id_token,
            ..honest.clone()
        };
        assert_failed(
            link_with(&server, request).await,
            Code::Unauthenticated,
            "ID_TOKEN_REJECTED",
        );
    }
    assert_eq!(count(&t, "oauth_accounts").await, "0");
}

async fn f09_of_two_users_who_link_one_subject_one_wins(t: Test) {
    const ROUNDS: usize = 20;
    let servers = [t.start_with(&patient()).await, t.start_with(&patient()).await];
    let ada = servers[0].create_with_password(EMAIL).await;
    let bob = servers[0].create_with_password("bob@example.com").await;
    for round in 0..ROUNDS {
        let subject = format!("s{round}");
        let links = (0..6).map(|number| {
            let user = if number % 2 == 0 { &ada } else { &bob };
            link(&t, &servers[number / 3], &user.id, &subject)
        });
        let mut owners = Vec::new();
        for outcome in join_all(links).await {
            match outcome {
                Ok((account, _)) => owners.push(account.user_id),
                Err(failure) => assert_eq!(failure.reason(), "IDENTITY_TAKEN", "{failure:?}"),
            }
        }
        // The winner's other calls find it linked.
        assert_eq!(owners.len(), 3, "{owners:?}");
        owners.dedup();
        assert_eq!(owners.len(), 1, "{owners:?}");
    }
    assert_eq!(count(&t, "oauth_accounts").await, ROUNDS.to_string());
    let linked = "SELECT count(*) AS value FROM user_events WHERE type = 'oauth_account_linked'";
    assert_eq!(t.sql_value(linked).await, Some(ROUNDS.to_string()));
}

async fn g06_a_stale_etag_links_nothing(t: Test) {
    let server = t.start_with(&with_shared_issuer()).await;
    let user = server.create_with_password(EMAIL).await;
    let with_etag = |etag: &str, subject| LinkOAuthAccountRequest {
        etag: etag.to_owned(),
        ..link_request(&t, &user.id, subject)
    };
    let (_, linked) = link_with(&server, with_etag(&user.etag, "1")).await.unwrap();
    let stale = link_with(&server, with_etag(&user.etag, "2")).await;
    assert_failed(stale, Code::Aborted, "ETAG_MISMATCH");
    assert_eq!(server.get(&user.id).await.unwrap(), linked);
}

async fn g07_a_retried_link_happens_once(t: Test) {
    let servers = [t.start_with(&patient()).await, t.start_with(&patient()).await];
    let user = servers[0].create_with_password(EMAIL).await;
    let request = LinkOAuthAccountRequest {
        request_id: "0190a6e1-7d5c-4abc-8def-0123456789ab".to_owned(),
        etag: user.etag.clone(),
        ..link_request(&t, &user.id, "1")
    };
    let outcomes =
        join_all((0..20).map(|number| link_with(&servers[number % 2], request.clone()))).await;
    let answers: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(count(&t, "user_events").await, "2");
    let other = LinkOAuthAccountRequest {
        request_id: request.request_id.clone(),
        ..link_request(&t, &user.id, "2")
    };
    assert_refused(
        link_with(&servers[0], other).await,
        "request_id",
        "REQUEST_ID_REUSED",
    );
    // What was unlinked since stays so.
    unlink(&servers[0], &user.id, &answers[0].0.id).await.unwrap();
    assert_failed(
        link_with(&servers[0], request).await,
        Code::NotFound,
        "OAUTH_ACCOUNT_NOT_FOUND",
    );
}

async fn every_violation_is_reported_at_once(t: Test) {
    let server = t.start_with(&with_shared_issuer()).await;
    let request = LinkOAuthAccountRequest {
        user_id: "nope".to_owned(),
        provider: "a b".to_owned(),
        id_token: String::new(),
        nonce: "a\u{7}".to_owned(),
        etag: "e".repeat(65),
        request_id: "nope".to_owned(),
    };
    let failure = link_with(&server, request).await.unwrap_err();
    let fields: Vec<String> = failure.fields().into_iter().map(|(field, _)| field).collect();
    assert_eq!(
        fields,
        ["user_id", "provider", "id_token", "nonce", "etag", "request_id"]
    );
}
