//! `GET /.well-known/jwks.json`: the public keys as a JWK set (RFC 7517 §5).

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::Operations;
use crate::tokens::SigningKeys;

/// The media type of a JWK set (RFC 7517 §8.5.2).
const JWK_SET: &str = "application/jwk-set+json";

pub(super) async fn jwks(State(operations): State<Operations>, headers: HeaderMap) -> Response {
    let published = operations.signing_keys.published(operations.clock.now());
    if published.is_empty() {
        // The keys have not been read yet. Whoever kept an empty set would refuse every token.
        return (StatusCode::SERVICE_UNAVAILABLE, [(CACHE_CONTROL, "no-store")]).into_response();
    }
    let keys: Vec<Value> = published.iter().map(|(jwk, _)| jwk.to_json()).collect();
    let body = json!({ "keys": keys }).to_string();
    let etag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(digest(&SHA256, body.as_bytes())));
    let max_age = SigningKeys::MAX_AGE.num_seconds();
    let caching = [
        (CACHE_CONTROL, format!("public, max-age={max_age}")),
        (ETAG, etag.clone()),
    ];
    let is_known = headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .any(|known| is_match(known, &etag));
    if is_known {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    (caching, [(CONTENT_TYPE, JWK_SET)], body).into_response()
}

/// Tells whether a value of `If-None-Match` names an etag: a list, in which weak etags count, or `*` (RFC 9110 §13.1.2).
fn is_match(known: &HeaderValue, etag: &str) -> bool {
    let listed = known.to_str().unwrap_or_default();
    // Our etags have no commas; what falls apart here is not one of ours.
    listed
        .split(',')
        .map(str::trim)
        .any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == etag)
}
