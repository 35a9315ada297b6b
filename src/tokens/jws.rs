//! Signed tokens (RFC 7515) in the one form this service knows: compact, ES256, with `kid` and a type.
//!
//! Nothing in a token chooses how it is verified. The header may say what the service itself writes there and
//! nothing else, so that there is no algorithm to confuse and no key to smuggle in.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED, EcdsaKeyPair, UnparsedPublicKey};
use serde_json::{Map, Value, json};

use super::TokenError;

/// The algorithm (RFC 7518 §3.4): ECDSA over P-256 with SHA-256.
const ALGORITHM: &str = "ES256";

/// The one type of token this service signs (RFC 9068 §2.1).
const TYPE: &str = "at+jwt";

/// A public key as a JSON Web Key (RFC 7517).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicJwk {
    /// Its thumbprint (RFC 7638).
    pub kid: String,
    /// The first coordinate, in base64url.
    pub x: String,
    /// The second coordinate, in base64url.
    pub y: String,
}

impl PublicJwk {
    /// The kind of key.
    pub const KTY: &'static str = "EC";
    /// The algorithm.
    pub const ALG: &'static str = ALGORITHM;
    /// What the key is for.
    pub const USE: &'static str = "sig";
    /// The curve.
    pub const CRV: &'static str = "P-256";

    /// Takes a public key apart: an uncompressed point (SEC 1 §2.3.3). `None` if it is not one.
    #[must_use]
    pub fn of(public_key: &[u8]) -> Option<Self> {
        let (mark, coordinates) = public_key.split_first_chunk::<1>()?;
        let (x, y) = coordinates.split_first_chunk::<32>()?;
        if *mark != [4] || y.len() != 32 {
            return None;
        }
        let x = URL_SAFE_NO_PAD.encode(x);
        let y = URL_SAFE_NO_PAD.encode(y);
        // The required members in the order of their names, without spaces (RFC 7638 §3).
        let members = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let kid = URL_SAFE_NO_PAD.encode(digest(&SHA256, members.as_bytes()));
        Some(Self { kid, x, y })
    }

    /// Returns the key as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "kid": self.kid,
            "kty": Self::KTY,
            "alg": Self::ALG,
            "use": Self::USE,
            "crv": Self::CRV,
            "x": self.x,
            "y": self.y,
        })
    }
}

/// Signs claims.
pub(super) fn sign(claims: &Value, kid: &str, key: &EcdsaKeyPair) -> Result<String, TokenError> {
    let header = json!({ "alg": ALGORITHM, "kid": kid, "typ": TYPE });
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", encode(&header), encode(claims));
    let signature = key
        .sign(&SystemRandom::new(), message.as_bytes())
        .map_err(|_| TokenError::NoRandomness)?;
    Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// A token whose header is in order and whose signature has not been looked at.
pub(super) struct Unverified<'a> {
    /// The key it names.
    pub(super) kid: String,
    message: &'a str,
    claims: &'a str,
    signature: Vec<u8>,
}

impl<'a> Unverified<'a> {
    /// Takes a token apart; `None` for anything that this service would not have written.
    pub(super) fn parse(token: &'a str) -> Option<Self> {
        let (message, signature) = token.rsplit_once('.')?;
        let (header, claims) = message.split_once('.')?;
        let header = object(header)?;
        let member = |name: &str| header.get(name).and_then(Value::as_str);
        let kid = member("kid")?;
        if member("alg") != Some(ALGORITHM) || member("typ") != Some(TYPE) || header.len() != 3 {
            return None;
        }
        Some(Self {
            kid: kid.to_owned(),
            message,
            claims,
            signature: URL_SAFE_NO_PAD.decode(signature).ok()?,
        })
    }

    /// Returns the claims if the key signed them.
    pub(super) fn verify(&self, public_key: &[u8]) -> Option<Map<String, Value>> {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public_key)
            .verify(self.message.as_bytes(), &self.signature)
            .ok()?;
        object(self.claims)
    }
}

/// Decodes a part of a token. The decoder takes neither padding nor bits that do not count.
fn object(encoded: &str) -> Option<Map<String, Value>> {
    let bytes = URL_SAFE_NO_PAD.decode(encoded).ok()?;
    match serde_json::from_slice(&bytes).ok()? {
        Value::Object(members) => Some(members),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::PublicJwk;

    #[test]
    fn the_thumbprint_is_that_of_the_key() {
        // The public key of RFC 7515 appendix A.3.1; its thumbprint was computed with another library.
        let x = URL_SAFE_NO_PAD
            .decode("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU")
            .expect("x");
        let y = URL_SAFE_NO_PAD
            .decode("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0")
            .expect("y");
        let point = [[4].as_slice(), &x, &y].concat();
        let jwk = PublicJwk::of(&point).expect("a point");
        assert_eq!(jwk.kid, "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U");
        assert!(PublicJwk::of(&point[1..]).is_none());
        assert!(PublicJwk::of(&[]).is_none());
    }
}
