//! An ID token as it comes: a signed token in its compact form (RFC 7515 §7.1).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::jwks::{Algorithm, Key};
use super::{MAX_TOKEN_BYTES, json};

/// A token whose signature has not been looked at.
#[derive(Debug)]
pub(super) struct Unverified<'a> {
    /// The key it names.
    pub(super) kid: String,
    algorithm: Algorithm,
    message: &'a str,
    claims: &'a str,
    signature: Vec<u8>,
}

impl<'a> Unverified<'a> {
    /// Takes a token apart, or says what is wrong with it.
    ///
    /// Members of the header that point to a key (`jwk`, `jku`, `x5c`, `x5u`) are not looked at. One that must be
    /// understood (`crit`) is not.
    pub(super) fn parse(token: &'a str) -> Result<Self, &'static str> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err("it is too long");
        }
        let (message, signature) = token.rsplit_once('.').ok_or("it has no signature")?;
        let (header, claims) = message.split_once('.').ok_or("it has no header")?;
        let header = object(header).ok_or("its header is not JSON")?;
        let text = |name: &str| header.get(name).and_then(Value::as_str);
        let algorithm = text("alg")
            .and_then(Algorithm::from_name)
            .ok_or("its algorithm is not one of a provider")?;
        let is_jwt = header.get("typ").is_none_or(|typ| {
            let typ = typ.as_str();
            typ.is_some_and(|typ| typ.eq_ignore_ascii_case("JWT"))
        });
        if !is_jwt {
            return Err("it is of another type");
        }
        if header.contains_key("crit") || header.contains_key("b64") {
            return Err("it uses an extension");
        }
        Ok(Self {
            kid: text("kid").ok_or("it names no key")?.to_owned(),
            algorithm,
            message,
            claims,
            signature: decode(signature).ok_or("its signature is not base64url")?,
        })
    }

    /// Returns the claims if the key signed them.
    pub(super) fn verify(&self, key: &Key) -> Result<Map<String, Value>, &'static str> {
        if !key.verifies(self.algorithm, self.message.as_bytes(), &self.signature) {
            return Err("its signature is not of the key");
        }
        object(self.claims).ok_or("its claims are not an object that says everything once")
    }
}

fn object(encoded: &str) -> Option<Map<String, Value>> {
    json::object(&decode(encoded)?)
}

/// The decoder takes neither padding nor bits that do not count.
fn decode(encoded: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(encoded).ok()
}
