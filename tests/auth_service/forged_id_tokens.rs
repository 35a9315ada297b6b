//! ID tokens that nobody should believe: tables of forgeries, none of which signs anybody in. What honest keys sign is in
//! `forged_id_token_claims.rs`.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use ring::hmac;
use serde_json::json;
use tonic::Code;

use crate::support::issuer::{Issuer, IssuerKey, PROVIDER, shared_issuer, with_shared_issuer};
use crate::support::{Behaviour, Clients, Test, behaviours, parts_of};
use crate::user_service::calls::count;

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        f01_headers_that_no_issuer_writes,
        f01_signatures_that_are_not_of_the_key,
        f01_changed_and_truncated_tokens,
        f01_what_is_said_twice_is_refused,
        f01_the_providers_do_not_take_tokens_of_this_service,
        f14_nothing_in_a_token_is_fetched,
    ]
}

pub(super) const EMAIL: &str = "ada@example.com";

pub(super) async fn assert_rejected(clients: &Clients, what: &str, token: &str) {
    let outcome = clients.sign_in_with_id_token(PROVIDER, token).await;
    let failure = outcome.expect_err(what);
    assert_eq!(
        (failure.code(), failure.reason().as_str()),
        (Code::Unauthenticated, "ID_TOKEN_REJECTED"),
        "{what}: {failure:?}"
    );
}

/// After a table of forgeries: the honest token is accepted, and nothing came of the others.
pub(super) async fn assert_only_the_honest_one_counts(t: &Test, clients: &Clients) {
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
