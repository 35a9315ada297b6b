//! The keys of a provider: how often they are fetched, and what happens when they cannot be.

use std::sync::Arc;

use futures_util::future::join_all;
use identity::proto::identity::v1::SignInWithIdTokenRequest;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use serde_json::json;
use tonic::Code;

use crate::support::certificates::Authority;
use crate::support::issuer::{Answer, Issuer, IssuerKey, PROVIDER};
use crate::support::{Behaviour, Clients, Failure, Test, TestServer, behaviours, eventually};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        f12_a_flood_of_unknown_keys_is_one_fetch_per_interval,
        f12_many_first_tokens_at_once_are_one_fetch,
        f12_a_new_key_is_found,
        f13_a_provider_that_is_away_is_told_with_when_to_retry,
        f13_every_bad_answer_is_no_answer,
        f13_a_silent_provider_holds_up_nobody_else,
        f13_keys_are_used_while_the_provider_is_away,
        f13_stale_keys_are_used_while_new_ones_are_fetched,
        f13_a_discovery_document_of_another_issuer_is_refused,
        f13_providers_are_asked_over_tls,
    ]
}

const EMAIL: &str = "ada@example.com";

/// A server that asks an issuer at most once a minute, of the clock of the test.
async fn start(t: &Test, issuer: &Issuer, more: &[(&str, &str)]) -> TestServer {
    let setting = issuer.setting(PROVIDER, &format!("keys={}", issuer.keys_url()));
    let settings = [
        ("IDENTITY_OIDC_PROVIDERS", setting.as_str()),
        ("IDENTITY_PROVIDER_SIGN_UP", "on"),
        ("IDENTITY_PROVIDER_KEYS_INTERVAL", "1m"),
        ("IDENTITY_PROVIDER_TIMEOUT", "30s"),
    ];
    t.start_with(&[&settings, more].concat()).await
}

async fn reason(clients: &Clients, token: &str) -> String {
    match clients.sign_in_with_id_token(PROVIDER, token).await {
        Ok(_) => "OK".to_owned(),
        Err(failure) => failure.reason(),
    }
}

#[track_caller]
fn assert_unavailable(outcome: Result<(), Failure>, what: &str) {
    let failure = outcome.expect_err(what);
    assert_eq!(
        (failure.code(), failure.reason().as_str()),
        (Code::Unavailable, "PROVIDER_UNAVAILABLE"),
        "{what}: {failure:?}"
    );
    let delay = failure.retry_delay().expect("when to retry");
    assert!((1..=60).contains(&delay.as_secs()), "{what}: {delay:?}");
}

fn minutes(t: &Test, count: i64) {
    t.clock.advance(chrono::TimeDelta::minutes(count));
}

async fn f12_a_flood_of_unknown_keys_is_one_fetch_per_interval(t: Test) {
    let issuer = Issuer::start();
    let server = start(&t, &issuer, &[]).await;
    let honest = issuer.token(&t, "1", EMAIL);
    assert_eq!(reason(&server, &honest).await, "OK");
    assert_eq!(issuer.fetches(), 1);
    minutes(&t, 1);
    let claims = issuer.claims(&t, "1");
    for round in 0..10 {
        let tokens: Vec<String> = (0..100)
            .map(|number| IssuerKey::ec(&format!("{round}-{number}")).sign(&claims))
            .collect();
        let reasons = join_all(tokens.iter().map(|token| reason(&server, token))).await;
        assert!(
            reasons.iter().all(|reason| reason == "ID_TOKEN_REJECTED"),
            "{reasons:?}"
        );
        assert_eq!(reason(&server, &honest).await, "OK");
    }
    assert_eq!(issuer.fetches(), 2);
}

async fn f12_many_first_tokens_at_once_are_one_fetch(t: Test) {
    let issuer = Issuer::start();
    let server = start(&t, &issuer, &[]).await;
    let tokens: Vec<String> = (0..50)
        .map(|number| issuer.token(&t, &number.to_string(), &format!("u{number}@example.com")))
        .collect();
    let reasons = join_all(tokens.iter().map(|token| reason(&server, token))).await;
    assert!(reasons.iter().all(|reason| reason == "OK"), "{reasons:?}");
    assert_eq!(issuer.fetches(), 1);
}

async fn f12_a_new_key_is_found(t: Test) {
    let issuer = Issuer::start();
    let server = start(&t, &issuer, &[]).await;
    assert_eq!(reason(&server, &issuer.token(&t, "1", EMAIL)).await, "OK");
    let next = IssuerKey::ec("next");
    issuer.publish(&[&next]);
    let claims = issuer.claims_with_email(&t, "1", EMAIL, true);
    // Not before the interval has passed.
    assert_eq!(reason(&server, &next.sign(&claims)).await, "ID_TOKEN_REJECTED");
    minutes(&t, 1);
    assert_eq!(reason(&server, &next.sign(&claims)).await, "OK");
    // What the provider has given up is not good any more.
    issuer.answer(Answer::Keys(json!({ "keys": [next.jwk()] })));
    minutes(&t, 1);
    assert_eq!(
        reason(&server, &IssuerKey::ec("x").sign(&claims)).await,
        "ID_TOKEN_REJECTED"
    );
    assert_eq!(reason(&server, &issuer.sign(&claims)).await, "ID_TOKEN_REJECTED");
    assert_eq!(reason(&server, &next.sign(&claims)).await, "OK");
}

async fn f13_a_provider_that_is_away_is_told_with_when_to_retry(t: Test) {
    let issuer = Issuer::start();
    let server = start(&t, &issuer, &[]).await;
    let token = issuer.token(&t, "1", EMAIL);
    drop(issuer);
    for what in ["the first", "within the interval"] {
        assert_unavailable(
            server.sign_in_with_id_token(PROVIDER, &token).await.map(drop),
            what,
        );
    }
    // Everything else goes on.
    server.create_with_password(EMAIL).await;
    server.sign_in(EMAIL, crate::support::PASSWORD).await.unwrap();
}

async fn f13_every_bad_answer_is_no_answer(t: Test) {
    let issuer = Issuer::start();
    let elsewhere = Issuer::start();
    let server = start(&t, &issuer, &[]).await;
    for (what, answer) in [
        ("500", Answer::Status(500)),
        ("404", Answer::Status(404)),
        ("204", Answer::Status(204)),
        ("a redirect", Answer::Redirect(elsewhere.keys_url())),
        ("HTML", Answer::Text("<html></html>".to_owned())),
        ("no keys", Answer::Text(r#"{"keys":[]}"#.to_owned())),
        ("10 MiB", Answer::Padded(10 * 1024 * 1024)),
        ("a byte too many", Answer::Padded(256 * 1024)),
        ("nothing", Answer::HangUp),
    ] {
        issuer.answer(answer);
        minutes(&t, 1);
        let token = issuer.token(&t, "1", EMAIL);
        assert_unavailable(
            server.sign_in_with_id_token(PROVIDER, &token).await.map(drop),
            what,
        );
    }
    assert_eq!(elsewhere.fetches(), 0, "redirects are not followed");
    issuer.publish(&[]);
    minutes(&t, 1);
    let token = issuer.token(&t, "1", EMAIL);
    assert_eq!(reason(&server, &token).await, "OK");
    assert_eq!(server.metric("identity_panics_total").await, 0.0);
}

async fn f13_a_silent_provider_holds_up_nobody_else(t: Test) {
    let issuer = Issuer::start();
    issuer.answer(Answer::Silence);
    let server = start(&t, &issuer, &[("IDENTITY_PROVIDER_TIMEOUT", "2s")]).await;
    server.create_with_password(EMAIL).await;
    let token = issuer.token(&t, "1", "grace@example.com");
    let waiting = join_all((0..100).map(|_| server.sign_in_with_id_token(PROVIDER, &token)));
    let others = async {
        eventually("the provider is asked", async || issuer.fetches() > 0).await;
        for _ in 0..20 {
            server.sign_in(EMAIL, crate::support::PASSWORD).await.unwrap();
        }
        // They are still waiting, unless the machine was so slow that the time is over.
        issuer.fetches()
    };
    let (outcomes, fetches) = futures_util::future::join(waiting, others).await;
    assert_eq!(fetches, 1);
    for outcome in outcomes {
        assert_unavailable(outcome.map(drop), "a silent provider");
    }
}

async fn f13_keys_are_used_while_the_provider_is_away(t: Test) {
    let issuer = Issuer::start();
    let server = start(&t, &issuer, &[]).await;
    assert_eq!(reason(&server, &issuer.token(&t, "1", EMAIL)).await, "OK");
    issuer.answer(Answer::Status(503));
    // Long after the keys are fresh, and every time the provider is asked in vain.
    for hours in [2, 10, 10] {
        minutes(&t, hours * 60);
        assert_eq!(reason(&server, &issuer.token(&t, "1", EMAIL)).await, "OK");
    }
    eventually("the provider is asked again", async || issuer.fetches() > 1).await;
    // What has not been confirmed for a day is not used any more.
    minutes(&t, 3 * 60);
    let token = issuer.token(&t, "1", EMAIL);
    assert_unavailable(
        server.sign_in_with_id_token(PROVIDER, &token).await.map(drop),
        "after a day",
    );
}

async fn f13_stale_keys_are_used_while_new_ones_are_fetched(t: Test) {
    let issuer = Issuer::start();
    let server = start(&t, &issuer, &[]).await;
    assert_eq!(reason(&server, &issuer.token(&t, "1", EMAIL)).await, "OK");
    // The provider would hold up whoever waited for it.
    issuer.answer(Answer::Silence);
    minutes(&t, 60);
    for _ in 0..10 {
        assert_eq!(reason(&server, &issuer.token(&t, "1", EMAIL)).await, "OK");
    }
    eventually("new keys are fetched behind", async || issuer.fetches() == 2).await;
}

async fn f13_a_discovery_document_of_another_issuer_is_refused(t: Test) {
    let issuer = Issuer::start();
    let elsewhere = Issuer::start();
    let setting = issuer.setting(PROVIDER, "");
    let settings = [
        ("IDENTITY_OIDC_PROVIDERS", setting.as_str()),
        ("IDENTITY_PROVIDER_SIGN_UP", "on"),
        ("IDENTITY_PROVIDER_KEYS_INTERVAL", "1m"),
    ];
    let server = t.start_with(&settings).await;
    for document in [
        json!({ "issuer": elsewhere.url(), "jwks_uri": issuer.keys_url() }),
        json!({ "issuer": format!("{}/", issuer.url()), "jwks_uri": issuer.keys_url() }),
        json!({ "jwks_uri": issuer.keys_url() }),
        json!({ "issuer": issuer.url() }),
        json!({ "issuer": issuer.url(), "jwks_uri": "http://10.0.0.1/keys" }),
        json!({ "issuer": issuer.url(), "jwks_uri": "file:///etc/passwd" }),
        json!([]),
    ] {
        issuer.declare(document.clone());
        minutes(&t, 1);
        let token = issuer.token(&t, "1", EMAIL);
        assert_unavailable(
            server.sign_in_with_id_token(PROVIDER, &token).await.map(drop),
            &document.to_string(),
        );
    }
    assert_eq!((issuer.fetches(), elsewhere.fetches()), (0, 0));
    issuer.declare(json!({ "issuer": issuer.url(), "jwks_uri": issuer.keys_url() }));
    minutes(&t, 1);
    let request = SignInWithIdTokenRequest {
        provider: PROVIDER.to_owned(),
        id_token: issuer.token(&t, "1", EMAIL),
        ..SignInWithIdTokenRequest::default()
    };
    server.present_id_token(request).await.unwrap();
}

async fn f13_providers_are_asked_over_tls(t: Test) {
    let authority = Authority::new();
    let identity = authority.identity(&["localhost"], &[]);
    let key = PrivateKeyDer::try_from(identity.key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![identity.certificate.der().clone()], key)
        .unwrap();
    let issuer = Issuer::start_with_tls(config);
    let ca_file = t.directory().join("provider-ca.pem");
    std::fs::write(&ca_file, authority.pem()).unwrap();
    let ca_file = ca_file.display().to_string();

    let trusting = start(&t, &issuer, &[("IDENTITY_PROVIDER_CA_FILE", &ca_file)]).await;
    assert_eq!(reason(&trusting, &issuer.token(&t, "1", EMAIL)).await, "OK");
    assert_eq!(issuer.fetches(), 1);

    // Nobody vouches for it to a server that does not know the authority.
    let stranger = Authority::new();
    std::fs::write(t.directory().join("stranger.pem"), stranger.pem()).unwrap();
    let other_file = t.directory().join("stranger.pem").display().to_string();
    let careful = start(&t, &issuer, &[("IDENTITY_PROVIDER_CA_FILE", &other_file)]).await;
    let token = issuer.token(&t, "1", EMAIL);
    assert_unavailable(
        careful.sign_in_with_id_token(PROVIDER, &token).await.map(drop),
        "an unknown authority",
    );
    assert_eq!(issuer.fetches(), 1);
}
