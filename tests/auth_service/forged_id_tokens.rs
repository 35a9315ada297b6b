//! ID tokens that nobody should believe: a table of forgeries, none of which signs anybody in.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use identity::proto::identity::v1::SignInWithIdTokenRequest;
use ring::hmac;
use serde_json::{Value, json};
use tonic::Code;

use crate::support::issuer::{
    CLIENT_ID, Issuer, IssuerKey, PROVIDER, google_claims, shared_issuer, with_shared_issuer,
};
use crate::support::{Behaviour, Clients, Test, behaviours, parts_of};
use crate::user_service::calls::{assert_failed, count};
use identity::clock::Clock;

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        f01_headers_that_no_issuer_writes,
        f01_signatures_that_are_not_of_the_key,
        f01_changed_and_truncated_tokens,
        f01_claims_that_are_missing_or_of_another_type,
        f01_times_are_exact_to_the_second,
        f01_what_is_said_twice_is_refused,
        f01_a_nonce_is_checked_in_both_directions,
        f01_the_providers_do_not_take_tokens_of_this_service,
        f02_a_token_for_another_application_is_refused,
        f03_only_the_two_legal_spellings_of_google_are_accepted,
        f14_nothing_in_a_token_is_fetched,
    ]
}

const EMAIL: &str = "ada@example.com";

async fn assert_rejected(clients: &Clients, what: &str, token: &str) {
    let outcome = clients.sign_in_with_id_token(PROVIDER, token).await;
    let failure = outcome.expect_err(what);
    assert_eq!(
        (failure.code(), failure.reason().as_str()),
        (Code::Unauthenticated, "ID_TOKEN_REJECTED"),
        "{what}: {failure:?}"
    );
}

/// After a table of forgeries: the honest token is accepted, and nothing came of the others.
async fn assert_only_the_honest_one_counts(t: &Test, clients: &Clients) {
    for table in ["users", "oauth_accounts", "sessions"] {
        assert_eq!(count(t, table).await, "0", "{table}");
    }
    let honest = shared_issuer().token(t, "1", EMAIL);
    clients.sign_in_with_id_token(PROVIDER, &honest).await.unwrap();
}

async fn f01_headers_that_no_issuer_writes(t: Test) {
    let server = t.start_with(&with_shared_issuer()).await;
    let issuer = shared_issuer();
    let claims = issuer.claims_with_email(&t, "1", EMAIL, true);
    let key = &issuer.keys[0];
    let kid = key.kid.as_str();
    let long = "k".repeat(10_000);
    let headers = [
        json!({ "alg": "none", "kid": kid, "typ": "JWT" }),
        json!({ "alg": "None", "kid": kid }),
        json!({ "alg": "nOnE", "kid": kid }),
        json!({ "alg": "", "kid": kid }),
        json!({ "alg": "HS256", "kid": kid }),
        json!({ "alg": "RS384", "kid": kid }),
        json!({ "alg": "RS512", "kid": kid }),
        json!({ "alg": "PS256", "kid": kid }),
        json!({ "alg": "rs256", "kid": kid }),
        json!({ "alg": "ES256", "kid": kid }),
        json!({ "alg": "EdDSA", "kid": kid }),
        json!({ "alg": ["RS256"], "kid": kid }),
        json!({ "alg": null, "kid": kid }),
        json!({ "kid": kid }),
        json!({ "alg": "RS256" }),
        json!({ "alg": "RS256", "kid": null }),
        json!({ "alg": "RS256", "kid": 7 }),
        json!({ "alg": "RS256", "kid": "" }),
        json!({ "alg": "RS256", "kid": "ec-1" }),
        json!({ "alg": "RS256", "kid": "unknown" }),
        json!({ "alg": "RS256", "kid": "../../../../dev/null" }),
        json!({ "alg": "RS256", "kid": "' UNION SELECT 1 --" }),
        json!({ "alg": "RS256", "kid": long }),
        json!({ "alg": "RS256", "kid": kid, "typ": "at+jwt" }),
        json!({ "alg": "RS256", "kid": kid, "typ": "logout+jwt" }),
        json!({ "alg": "RS256", "kid": kid, "typ": 7 }),
        json!({ "alg": "RS256", "kid": kid, "crit": ["exp"] }),
        json!({ "alg": "RS256", "kid": kid, "b64": false, "crit": ["b64"] }),
        json!([]),
        json!("RS256"),
        json!(null),
    ];
    for header in headers {
        assert_rejected(&server, &header.to_string(), &key.sign_under(&header, &claims)).await;
    }
    for header in ["", "{", "{\"alg\":\"RS256\"", "\u{feff}{}"] {
        assert_rejected(&server, header, &key.sign_texts(header, &claims.to_string())).await;
    }
    assert_only_the_honest_one_counts(&t, &server).await;
}

async fn f01_signatures_that_are_not_of_the_key(t: Test) {
    let server = t.start_with(&with_shared_issuer()).await;
    let issuer = shared_issuer();
    let claims = issuer.claims_with_email(&t, "1", EMAIL, true);
    // Other keys of the same kinds, under the ids of the issuer's.
    for forger in [
        IssuerKey::rsa("rsa-1", 1),
        IssuerKey::ec("ec-1"),
        IssuerKey::ed("ed-1"),
    ] {
        assert_rejected(&server, &forger.kid, &forger.sign(&claims)).await;
    }
    for key in &issuer.keys {
        let honest = key.sign(&claims);
        let [header, body, signature] = parts_of(&honest);
        let message = format!("{header}.{body}");
        let bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let zeros = vec![0; bytes.len()];
        let others = [
            Vec::new(),
            vec![0],
            zeros,
            bytes[1..].to_vec(),
            [bytes.as_slice(), &[0]].concat(),
            [[0].as_slice(), &bytes].concat(),
            bytes.iter().rev().copied().collect(),
        ];
        for other in others {
            let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(&other));
            assert_rejected(&server, "another signature", &token).await;
        }
        // The same bytes, written in another way.
        for spelling in [
            STANDARD.encode(&bytes),
            URL_SAFE.encode(&bytes),
            format!("{signature}="),
            format!("{signature}\n"),
            format!(" {signature}"),
        ] {
            if spelling != signature {
                assert_rejected(&server, "another spelling", &format!("{message}.{spelling}")).await;
            }
        }
        // HMAC with whatever of the public key could be taken for a secret.
        let jwk = key.jwk();
        let text = |name: &str| jwk[name].as_str().unwrap_or_default().to_owned();
        for secret in [
            jwk.to_string().into_bytes(),
            text("n").into_bytes(),
            URL_SAFE_NO_PAD.decode(text("n")).unwrap(),
            URL_SAFE_NO_PAD.decode(text("x")).unwrap(),
            text("kid").into_bytes(),
        ] {
            for alg in ["HS256", key.alg()] {
                let head = json!({ "alg": alg, "kid": key.kid, "typ": "JWT" }).to_string();
                let signed = format!("{}.{body}", URL_SAFE_NO_PAD.encode(head));
                let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), signed.as_bytes());
                let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag));
                assert_rejected(&server, "HMAC with the public key", &token).await;
            }
        }
    }
    assert_only_the_honest_one_counts(&t, &server).await;
}

async fn f01_changed_and_truncated_tokens(t: Test) {
    let server = t.start_with(&with_shared_issuer()).await;
    let issuer = shared_issuer();
    let claims = issuer.claims_with_email(&t, "1", EMAIL, true);
    // The shortest signature, so that the table is not longer than it has to be.
    let honest = issuer.keys[1].sign(&claims);
    let mut changed = Vec::new();
    for (index, byte) in honest.bytes().enumerate() {
        let other = if byte == b'A' { b'B' } else { b'A' };
        let mut bytes = honest.clone().into_bytes();
        bytes[index] = other;
        changed.push(String::from_utf8(bytes).unwrap());
        if index % 7 == 0 {
            changed.push(honest[..index].to_owned());
        }
    }
    let [header, body, signature] = parts_of(&honest);
    changed.extend([
        format!("{header}.{body}"),
        format!("{header}.{body}."),
        format!(".{body}.{signature}"),
        format!("{header}..{signature}"),
        format!("{honest}.{signature}"),
        format!("{header}.{honest}"),
        format!("{body}.{header}.{signature}"),
        format!("{honest}{honest}"),
        "..".to_owned(),
        "....".to_owned(),
        "a.b.c".to_owned(),
        "{}".to_owned(),
        "x".repeat(16 * 1024),
    ]);
    for token in changed.iter().filter(|token| !token.is_empty()) {
        assert_rejected(&server, token, token).await;
    }
    assert_only_the_honest_one_counts(&t, &server).await;
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

async fn f01_what_is_said_twice_is_refused(t: Test) {
    let server = t.start_with(&with_shared_issuer()).await;
    let issuer = shared_issuer();
    let key = &issuer.keys[0];
    let (header, claims) = (key.header().to_string(), issuer.claims(&t, "1").to_string());
    for (name, value) in [
        ("sub", "\"2\""),
        ("iss", "\"https://evil.example\""),
        ("aud", "\"other\""),
        ("exp", "99999999999"),
        ("email_verified", "true,\"email_verified\":true"),
        ("nested", "{\"a\":1,\"a\":2}"),
    ] {
        let twice = format!("{},\"{name}\":{value}}}", claims.trim_end_matches('}'));
        assert_rejected(&server, name, &key.sign_texts(&header, &twice)).await;
    }
    let twice = format!("{},\"alg\":\"RS256\"}}", header.trim_end_matches('}'));
    assert_rejected(&server, "the header", &key.sign_texts(&twice, &claims)).await;
    assert_only_the_honest_one_counts(&t, &server).await;
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

async fn f01_the_providers_do_not_take_tokens_of_this_service(t: Test) {
    let server = t.start_with(&with_shared_issuer()).await;
    let (_, tokens) = server.signed_in("bob@example.com").await;
    assert_rejected(&server, "an access token", &tokens.access_token).await;
    assert_rejected(&server, "a refresh token", &tokens.refresh_token).await;
    // Nor does this service take an ID token as one of its own.
    let token = shared_issuer().token(&t, "1", EMAIL);
    assert!(!server.is_active(&token).await);
    let failure = server.get_me(&token).await.unwrap_err();
    assert_eq!(failure.reason(), "TOKEN_INVALID");
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

/// Whatever a token points to is left alone, and whose it is the configuration says.
async fn f14_nothing_in_a_token_is_fetched(t: Test) {
    let issuer = Issuer::start();
    let elsewhere = Issuer::start();
    let setting = issuer.setting(PROVIDER, "");
    let settings = [
        ("IDENTITY_OIDC_PROVIDERS", setting.as_str()),
        ("IDENTITY_PROVIDER_SIGN_UP", "on"),
    ];
    let server = t.start_with(&settings).await;
    let forger = IssuerKey::rsa("rsa-1", 1);
    let mut claims = issuer.claims_with_email(&t, "1", EMAIL, true);
    let mut header = forger.header();
    header["jku"] = json!(elsewhere.keys_url());
    header["x5u"] = json!(elsewhere.url());
    header["jwk"] = forger.jwk();
    assert_rejected(&server, "jku, x5u and jwk", &forger.sign_under(&header, &claims)).await;
    claims["iss"] = json!(elsewhere.url());
    assert_rejected(&server, "its issuer", &elsewhere.sign(&claims)).await;
    // The picture and the profile of an honest token are not looked at either.
    claims["iss"] = json!(issuer.url());
    for name in ["picture", "profile", "website", "jwks_uri", "_claim_sources"] {
        claims[name] = json!(elsewhere.url());
    }
    let response = server
        .sign_in_with_id_token(PROVIDER, &issuer.sign(&claims))
        .await;
    assert!(response.unwrap().user_created);
    // A provider is a name of the configuration and not an address.
    let outcome = server
        .sign_in_with_id_token(&elsewhere.url(), &elsewhere.sign(&claims))
        .await;
    let fields = outcome.unwrap_err().fields();
    assert_eq!(fields, [("provider".to_owned(), "INVALID_FORMAT".to_owned())]);
    assert_eq!((elsewhere.fetches(), elsewhere.strange_requests()), (0, 0));
}
