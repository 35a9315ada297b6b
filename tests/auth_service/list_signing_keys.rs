//! `ListSigningKeys` and `/.well-known/jwks.json`: the public keys, for those who verify tokens by themselves.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde_json::{Value, json};

use super::PROMPT;
use crate::support::{
    Behaviour, Clients, Proxy, Test, behaviours, eventually, kid_of, parts_of, postgres_only, thumbprint,
};

pub fn tests() -> Vec<Behaviour> {
    [
        behaviours![
            t19_the_set_has_public_members_and_no_others,
            t19_a_token_can_be_verified_with_the_set_alone,
            t19_the_rpc_and_the_page_say_the_same,
            t19_the_order_is_that_in_which_keys_sign_and_the_same_everywhere,
            t19_the_page_may_be_kept_for_half_of_what_a_key_is_published_before_it_signs,
            t19_who_has_the_page_is_told_so,
        ],
        postgres_only![t19_before_there_are_keys_no_empty_set_is_given_out],
    ]
    .concat()
}

const PAGE: &str = "/.well-known/jwks.json";

async fn keys_of_page(server: &Clients) -> Vec<Value> {
    let (status, body) = server.http_get(PAGE).await;
    assert_eq!(status, 200);
    let set: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(set.as_object().unwrap().len(), 1, "{body}");
    set["keys"].as_array().unwrap().clone()
}

async fn t19_the_set_has_public_members_and_no_others(t: Test) {
    let server = t.start_with(&[PROMPT]).await;
    assert_eq!(t.run(&[], &["keys", "rotate"]).await.0, 0);
    eventually("the new key is published", async || {
        keys_of_page(&server).await.len() == 2
    })
    .await;

    let mut kids = BTreeSet::new();
    for key in keys_of_page(&server).await {
        let names: BTreeSet<&str> = key.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(
            names,
            BTreeSet::from(["alg", "crv", "kid", "kty", "use", "x", "y"])
        );
        let member = |name: &str| key[name].as_str().unwrap().to_owned();
        assert_eq!(member("alg"), "ES256");
        assert_eq!(member("crv"), "P-256");
        assert_eq!(member("kty"), "EC");
        assert_eq!(member("use"), "sig");
        for name in ["x", "y"] {
            // All 32 bytes, also if the first are zero (RFC 7518 §6.2.1.2).
            assert_eq!(URL_SAFE_NO_PAD.decode(member(name)).unwrap().len(), 32);
        }
        assert_eq!(member("kid"), thumbprint(&member("x"), &member("y")));
        assert!(kids.insert(member("kid")));
    }
}

async fn t19_a_token_can_be_verified_with_the_set_alone(t: Test) {
    let server = t.start_with(&[PROMPT]).await;
    let (_, tokens) = server.signed_in("ada@example.com").await;
    let [header, claims, signature] = parts_of(&tokens.access_token);
    let kid = kid_of(&tokens.access_token);
    let keys = keys_of_page(&server).await;
    let key = keys.iter().find(|key| key["kid"] == json!(kid)).unwrap();
    let coordinate = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str().unwrap()).unwrap();
    let point = [vec![4], coordinate("x"), coordinate("y")].concat();

    let message = format!("{header}.{claims}");
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
        .verify(message.as_bytes(), &signature)
        .unwrap();
}

async fn t19_the_rpc_and_the_page_say_the_same(t: Test) {
    let server = t.start_with(&[PROMPT]).await;
    assert_eq!(t.run(&[], &["keys", "rotate"]).await.0, 0);
    eventually("the new key is published", async || {
        server.signing_keys().await.len() == 2
    })
    .await;

    let keys = server.signing_keys().await;

    let as_json: Vec<Value> = keys
        .iter()
        .map(|key| {
            json!({
                "kid": key.kid, "kty": key.kty, "alg": key.alg, "use": key.r#use, "crv": key.crv,
                "x": key.x, "y": key.y,
            })
        })
        .collect();
    assert_eq!(as_json, keys_of_page(&server).await);
    // The RPC also says when: the second key signs from when the first one does not any more.
    assert!(keys[0].retire_time.is_some());
    assert_eq!(keys[0].retire_time, keys[1].activate_time);
    assert_eq!(keys[1].retire_time, None);
}

async fn t19_the_order_is_that_in_which_keys_sign_and_the_same_everywhere(t: Test) {
    let first = t.start_with(&[PROMPT]).await;
    for _ in 0..4 {
        assert_eq!(t.run(&[], &["keys", "rotate"]).await.0, 0);
    }
    let second = t.start_with(&[PROMPT]).await;
    eventually("the new keys are published", async || {
        first.signing_keys().await.len() == 5
    })
    .await;

    let keys = first.signing_keys().await;

    let times: Vec<_> = keys
        .iter()
        .map(|key| key.activate_time.unwrap())
        .map(|time| (time.seconds, time.nanos))
        .collect();
    assert!(times.is_sorted(), "{times:?}");
    let body = first.http_get(PAGE).await;
    assert_eq!(second.http_get(PAGE).await, body);
    assert_eq!(first.http_get(PAGE).await, body);
}

/// Returns a header of a response.
fn header<'a>(response: &'a str, name: &str) -> Option<&'a str> {
    let (head, _) = response.split_once("\r\n\r\n").unwrap();
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(": ")?;
        found.eq_ignore_ascii_case(name).then_some(value)
    })
}

async fn t19_the_page_may_be_kept_for_half_of_what_a_key_is_published_before_it_signs(t: Test) {
    let server = t.start_with(&[PROMPT]).await;

    let response = server.http_get_with(PAGE, "").await;

    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    assert_eq!(header(&response, "cache-control"), Some("public, max-age=300"));
    assert_eq!(
        header(&response, "content-type"),
        Some("application/jwk-set+json")
    );
    assert!(header(&response, "etag").unwrap().starts_with('"'));
}

async fn t19_who_has_the_page_is_told_so(t: Test) {
    let server = t.start_with(&[PROMPT]).await;
    let response = server.http_get_with(PAGE, "").await;
    let etag = header(&response, "etag").unwrap();

    for known in [
        etag.to_owned(),
        // As a proxy that compresses hands it on, in a list, and whatever there is (RFC 9110 §13.1.2).
        format!("W/{etag}"),
        format!("\"other\", {etag}"),
        format!("\"other\",W/{etag} , \"third\""),
        format!("\"other\"\r\nIf-None-Match: {etag}"),
        "*".to_owned(),
    ] {
        let headers = format!("If-None-Match: {known}\r\n");
        let answer = server.http_get_with(PAGE, &headers).await;
        assert!(answer.starts_with("HTTP/1.1 304 "), "{known}: {answer}");
        assert!(answer.ends_with("\r\n\r\n"), "no body: {answer}");
        assert_eq!(header(&answer, "etag"), Some(etag));
        assert_eq!(header(&answer, "cache-control"), Some("public, max-age=300"));
    }
    for other in ["\"other\"", "", "W/\"other\"", etag.trim_matches('"')] {
        let headers = format!("If-None-Match: {other}\r\n");
        let answer = server.http_get_with(PAGE, &headers).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{other}: {answer}");
    }

    assert_eq!(t.run(&[], &["keys", "rotate"]).await.0, 0);
    let headers = format!("If-None-Match: {etag}\r\n");
    let changed = eventually("the page has changed", async || {
        let answer = server.http_get_with(PAGE, &headers).await;
        answer.starts_with("HTTP/1.1 200 ").then_some(answer)
    })
    .await;
    assert_ne!(header(&changed, "etag"), Some(etag));
}

/// Whoever fetched an empty set would refuse every token for as long as it may be kept.
async fn t19_before_there_are_keys_no_empty_set_is_given_out(t: Test) {
    let proxy = Proxy::start(t.database_address()).await;
    proxy.refuse();
    let url = t.database_url_via(proxy.address());
    let server = t.launch(&[("DATABASE_URL", &url)]).await.unwrap();

    let response = server.http_get_with(PAGE, "").await;

    assert!(response.starts_with("HTTP/1.1 503 "), "{response}");
    assert_eq!(header(&response, "cache-control"), Some("no-store"));
    proxy.forward();
    server.wait_until_serving().await;
    assert_eq!(keys_of_page(&server).await.len(), 1);
}
