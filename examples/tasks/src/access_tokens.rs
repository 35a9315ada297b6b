//! Verifies access tokens without asking anybody: JSON Web Tokens in the profile of RFC 9068.
//!
//! The token says which key to take and nothing else about how it is verified: the algorithm is that of the key, and the
//! key is one that the identity service published. `ring` is below tonic already; a JWT library would bring a second
//! cryptographic library or the `rsa` crate for algorithms that are not wanted here.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::proto::identity::v1::SigningKey;

/// The one algorithm that keys are taken for (RFC 7518 §3.4): ECDSA over P-256 with SHA-256.
const ALGORITHM: &str = "ES256";

/// A user of the identity service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UserId(Uuid);

impl UserId {
    /// Takes an id in the form that the identity service writes: lower case, with hyphens.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let uuid = Uuid::try_parse(text).ok()?;
        (uuid.to_string() == text).then_some(Self(uuid))
    }

    /// Returns the UUID.
    #[must_use]
    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whose tokens are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenPolicy {
    /// Who issues them: the claim `iss`.
    pub issuer: String,
    /// Whom they are for: what the claim `aud` must be or contain.
    pub audience: String,
}

/// Why a token is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenRefusal {
    /// It is not a token of the identity service for this service.
    Invalid,
    /// It was, and has expired.
    Expired,
}

/// A public key: an uncompressed point of P-256 (SEC 1 §2.3.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(Vec<u8>);

impl PublicKey {
    /// Takes a key that the identity service published; `None` if it is for anything but verifying ES256.
    #[must_use]
    pub fn of(key: &SigningKey) -> Option<Self> {
        /// Bytes of a coordinate.
        const COORDINATE: usize = 32;
        if (key.kty.as_str(), key.crv.as_str()) != ("EC", "P-256")
            || (key.alg.as_str(), key.r#use.as_str()) != (ALGORITHM, "sig")
        {
            return None;
        }
        let [x, y] = [&key.x, &key.y].map(|coordinate| URL_SAFE_NO_PAD.decode(coordinate).ok());
        let (x, y) = (x?, y?);
        let is_point = x.len() == COORDINATE && y.len() == COORDINATE;
        is_point.then(|| Self([[4].as_slice(), &x, &y].concat()))
    }
}

/// A token whose header is in order and whose signature has not been looked at.
#[derive(Debug)]
pub struct Unverified<'a> {
    kid: String,
    message: &'a str,
    claims: &'a str,
    signature: Vec<u8>,
}

impl<'a> Unverified<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    ///
    /// [`TokenRefusal::Invalid`] for what no key could make good.
    pub fn parse(token: &'a str) -> Result<Self, TokenRefusal> {
        /// Access tokens have about 700; what is far longer is not looked at.
        const MAX_BYTES: usize = 4096;
        if token.len() > MAX_BYTES {
            return Err(TokenRefusal::Invalid);
        }
        Self::take_apart(token).ok_or(TokenRefusal::Invalid)
    }

    fn take_apart(token: &'a str) -> Option<Self> {
        let (message, signature) = token.rsplit_once('.')?;
        let (header, claims) = message.split_once('.')?;
        let header = object(header)?;
        let member = |name: &str| header.get(name).and_then(Value::as_str);
        // Another type of token of the same issuer is no access token (RFC 9068 §4), and an extension that must be
        // understood is not (RFC 7515 §4.1.11).
        let is_access_token = matches!(member("typ")?, "at+jwt" | "application/at+jwt");
        if member("alg")? != ALGORITHM || !is_access_token || header.contains_key("crit") {
            return None;
        }
        Some(Self {
            kid: member("kid")?.to_owned(),
            message,
            claims,
            signature: URL_SAFE_NO_PAD.decode(signature).ok()?,
        })
    }

    /// Returns the id of the key that the token says it was signed with.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Verifies the token and returns the user whose it is.
    ///
    /// # Errors
    ///
    /// Why the token is not taken.
    pub fn verify(
        &self,
        key: &PublicKey,
        policy: &TokenPolicy,
        now: DateTime<Utc>,
    ) -> Result<UserId, TokenRefusal> {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &key.0)
            .verify(self.message.as_bytes(), &self.signature)
            .map_err(|_| TokenRefusal::Invalid)?;
        let claims = object(self.claims).ok_or(TokenRefusal::Invalid)?;
        let (user_id, expires_at) = read(&claims, policy, now).ok_or(TokenRefusal::Invalid)?;
        if now >= expires_at {
            return Err(TokenRefusal::Expired);
        }
        Ok(user_id)
    }
}

/// Reads claims whose signature is good; `None` if one is missing, has another type, or is not for us or not yet.
fn read(
    claims: &Map<String, Value>,
    policy: &TokenPolicy,
    now: DateTime<Utc>,
) -> Option<(UserId, DateTime<Utc>)> {
    /// How far the clock of the issuer may be ahead of ours.
    const LEEWAY: TimeDelta = TimeDelta::seconds(5);
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let time = |name: &str| DateTime::from_timestamp(claims.get(name)?.as_i64()?, 0);
    let audience = policy.audience.as_str();
    let is_for_us = match claims.get("aud")? {
        Value::String(one) => one == audience,
        Value::Array(several) => several.iter().any(|one| one.as_str() == Some(audience)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    };
    let is_due = match claims.get("nbf") {
        None => true,
        Some(_) => time("nbf")? <= now + LEEWAY,
    };
    if text("iss")? != policy.issuer || !is_for_us || !is_due || time("iat")? > now + LEEWAY {
        return None;
    }
    Some((UserId::parse(text("sub")?)?, time("exp")?))
}

/// Decodes a part of a token. The decoder takes neither padding nor bits that do not count.
fn object(encoded: &str) -> Option<Map<String, Value>> {
    let bytes = URL_SAFE_NO_PAD.decode(encoded).ok()?;
    match serde_json::from_slice(&bytes).ok()? {
        Value::Object(members) => Some(members),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => None,
    }
}
