//! ID tokens that the right key has signed, and that say what nobody should believe.

use identity::clock::Clock;
use identity::proto::identity::v1::SignInWithIdTokenRequest;
use serde_json::{Value, json};
use tonic::Code;

use super::forged_id_tokens::{EMAIL, assert_only_the_honest_one_counts, assert_rejected};
use crate::support::issuer::{
    CLIENT_ID, Issuer, PROVIDER, google_claims, shared_issuer, with_shared_issuer,
};
use crate::support::{Behaviour, Test, behaviours};
use crate::user_service::calls::{assert_failed, count};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        f01_claims_that_are_missing_or_of_another_type,
        f01_times_are_exact_to_the_second,
        f01_a_nonce_is_checked_in_both_directions,
        f02_a_token_for_another_application_is_refused,
        f03_only_the_two_legal_spellings_of_google_are_accepted,
    ]
}

async fn f01_claims_that_are_missing_or_of_another_type(t: Test) {
    let server = t.start_with(&with_shared_issuer()).await;
    let issuer = shared_issuer();
    let honest = issuer.claims_with_email(&t, "1", EMAIL, true);
    let now = t.clock.now().timestamp();
    let long = "s".repeat(256);
    let values: [(&str, Vec<Value>); 6] = [
        (
            "iss",
            vec![
                json!(""),
                json!(null),
                json!([issuer.url()]),
                json!(7),
                json!("other"),
            ],
        ),
        (
            "aud",
            vec![
                json!(""),
                json!(null),
                json!([]),
                json!({}),
                json!([7]),
                json!([CLIENT_ID, 7]),
            ],
        ),
        (
            "sub",
            vec![
                json!(""),
                json!(null),
                json!(7),
                json!("\u{e9}"),
                json!("a\nb"),
                json!(long),
            ],
        ),
        (
            "exp",
            vec![
                json!(null),
                json!((now + 60).to_string()),
                json!(-1),
                json!(0),
                json!(now as f64 + 60.5),
                json!([now + 60]),
                json!(1e300),
                json!(u64::MAX),
                json!(i64::MAX),
                json!(true),
            ],
        ),
        (
            "iat",
            vec![
                json!(null),
                json!(now.to_string()),
                json!(now as f64 + 0.5),
                json!(i64::MIN),
            ],
        ),
        (
            "nbf",
            vec![
                json!(null),
                json!(now.to_string()),
                json!("99999999999"),
                json!(now + 60),
            ],
        ),
    ];
    for (name, wrong) in values {
        for value in wrong {
            let mut claims = honest.clone();
            claims[name] = value;
            assert_rejected(
                &server,
                &format!("{name} {}", claims[name]),
                &issuer.sign(&claims),
            )
            .await;
        }
        if name != "nbf" {
            let mut claims = honest.clone();
            claims.as_object_mut().unwrap().remove(name);
            assert_rejected(&server, &format!("no {name}"), &issuer.sign(&claims)).await;
        }
    }
    let key = &issuer.keys[0];
    for text in ["", "{}", "[]", "null", "\"\"", "{", "\u{0}"] {
        assert_rejected(&server, text, &key.sign_texts(&key.header().to_string(), text)).await;
    }
    assert_only_the_honest_one_counts(&t, &server).await;
}

/// Five seconds for clocks that differ, and not one more.
async fn f01_times_are_exact_to_the_second(t: Test) {
    let server = t.start_with(&with_shared_issuer()).await;
    let issuer = shared_issuer();
    // Far from the edges, where the time that the test itself takes does not matter.
    for (what, expiry, issue, not_before, is_good) in [
        ("expired four seconds ago", -2, -60, -60, true),
        ("expired six seconds ago", -6, -60, -60, false),
        ("issued in two seconds", 60, 2, 0, true),
        ("issued in a minute", 120, 60, 0, false),
        ("good in two seconds", 60, 0, 2, true),
        ("good in a minute", 120, 0, 60, false),
    ] {
        let now = t.clock.now().timestamp();
        let mut claims = issuer.claims_with_email(&t, what, EMAIL, false);
        claims.as_object_mut().unwrap().remove("email");
        claims["exp"] = json!(now + expiry);
        claims["iat"] = json!(now + issue);
        claims["nbf"] = json!(now + not_before);
        let token = issuer.sign(&claims);
        let outcome = server.sign_in_with_id_token(PROVIDER, &token).await;
        let reason = outcome.unwrap_err().reason();
        // The account is nobody's, and nothing is known from which a user could be made.
        let expected = if is_good {
            "FIELD_REQUIRED"
        } else {
            "ID_TOKEN_REJECTED"
        };
        assert_eq!(reason, expected, "{what}");
    }
    // The last time there is has no five seconds after it.
    let mut eternal = issuer.claims_with_email(&t, "eternal", EMAIL, false);
    eternal.as_object_mut().unwrap().remove("email");
    eternal["exp"] = json!(chrono::DateTime::<chrono::Utc>::MAX_UTC.timestamp());
    let outcome = server
        .sign_in_with_id_token(PROVIDER, &issuer.sign(&eternal))
        .await;
    assert_eq!(outcome.unwrap_err().reason(), "FIELD_REQUIRED");
    // A token that was good is not for ever.
    let token = issuer.token(&t, "1", EMAIL);
    server.sign_in_with_id_token(PROVIDER, &token).await.unwrap();
    t.clock.advance(chrono::TimeDelta::seconds(3600 + 5));
    assert_rejected(&server, "an hour later", &token).await;
}

async fn f01_a_nonce_is_checked_in_both_directions(t: Test) {
    let server = t.start_with(&with_shared_issuer()).await;
    let issuer = shared_issuer();
    let without = issuer.claims_with_email(&t, "1", EMAIL, true);
    let mut with = without.clone();
    with["nonce"] = json!("n-0S6_WzA2Mj");
    let mut number = without.clone();
    number["nonce"] = json!(7);
    let present = async |claims: &Value, nonce: &str| {
        let request = SignInWithIdTokenRequest {
            provider: PROVIDER.to_owned(),
            id_token: issuer.sign(claims),
            nonce: nonce.to_owned(),
            ..SignInWithIdTokenRequest::default()
        };
        server.present_id_token(request).await
    };
    for (what, claims, nonce) in [
        ("the token has none", &without, "n-0S6_WzA2Mj"),
        ("none was given", &with, ""),
        ("another one", &with, "n-0S6_WzA2MJ"),
        ("a part of it", &with, "n-0S6"),
        ("a number", &number, "7"),
    ] {
        let failure = present(claims, nonce).await.expect_err(what);
        assert_eq!(failure.reason(), "ID_TOKEN_REJECTED", "{what}");
    }
    present(&with, "n-0S6_WzA2Mj").await.unwrap();
    present(&without, "").await.unwrap();
}

async fn f02_a_token_for_another_application_is_refused(t: Test) {
    let server = t.start_with(&with_shared_issuer()).await;
    let issuer = shared_issuer();
    let honest = issuer.claims_with_email(&t, "1", EMAIL, true);
    let with = |aud: Value, azp: Option<Value>| {
        let mut claims = honest.clone();
        claims["aud"] = aud;
        if let Some(azp) = azp {
            claims["azp"] = azp;
        }
        issuer.sign(&claims)
    };
    for (aud, azp) in [
        (json!("other.example"), None),
        (json!("app.example.evil"), None),
        (json!("APP.EXAMPLE"), None),
        (json!("app.example "), None),
        (json!(["other.example"]), Some(json!(CLIENT_ID))),
        (json!(CLIENT_ID), Some(json!("other.example"))),
        (json!(CLIENT_ID), Some(json!(null))),
        (json!(CLIENT_ID), Some(json!([CLIENT_ID]))),
        (json!([CLIENT_ID, "other.example"]), None),
        (json!([CLIENT_ID, "other.example"]), Some(json!("other.example"))),
    ] {
        let what = format!("{aud} {azp:?}");
        assert_rejected(&server, &what, &with(aud, azp)).await;
    }
    for (aud, azp) in [
        (json!([CLIENT_ID]), None),
        (json!(CLIENT_ID), Some(json!(CLIENT_ID))),
        (json!([CLIENT_ID, "other.example"]), Some(json!(CLIENT_ID))),
    ] {
        let what = format!("{aud} {azp:?}");
        let token = with(aud, azp);
        server.sign_in_with_id_token(PROVIDER, &token).await.expect(&what);
    }
}

async fn f03_only_the_two_legal_spellings_of_google_are_accepted(t: Test) {
    let issuer = Issuer::start();
    let keys_url = issuer.keys_url();
    let settings = [
        ("IDENTITY_GOOGLE_CLIENT_IDS", CLIENT_ID),
        ("IDENTITY_GOOGLE_KEYS_URL", keys_url.as_str()),
        ("IDENTITY_PROVIDER_SIGN_UP", "on"),
    ];
    let server = t.start_with(&settings).await;
    let mut claims = google_claims(t.clock.now(), "1", "ada@gmail.com");
    claims.as_object_mut().unwrap().remove("nonce");
    for spelling in [
        "https://accounts.google.com.evil",
        "https://accounts.google.com.evil.example",
        "http://accounts.google.com",
        "https://accounts.google.com/",
        "accounts.google.com/",
        "//accounts.google.com",
        "HTTPS://accounts.google.com",
        "https://Accounts.google.com",
        "https://accounts.google.com:443",
        "https://evil@accounts.google.com",
        " https://accounts.google.com",
        "google.com",
        "https://appleid.apple.com",
    ] {
        claims["iss"] = json!(spelling);
        assert_failed(
            server
                .sign_in_with_id_token("google", &issuer.sign(&claims))
                .await,
            Code::Unauthenticated,
            "ID_TOKEN_REJECTED",
        );
    }
    assert_eq!(count(&t, "oauth_accounts").await, "0");
    for spelling in ["https://accounts.google.com", "accounts.google.com"] {
        claims["iss"] = json!(spelling);
        let token = issuer.sign(&claims);
        server
            .sign_in_with_id_token("google", &token)
            .await
            .expect(spelling);
    }
    assert_eq!(count(&t, "oauth_accounts").await, "1");
}
