//! The keys of an issuer: a JWK set (RFC 7517 §5).

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use serde_json::{Map, Value};

use super::json;

/// The algorithms that ID tokens are signed with (RFC 7518 §3, RFC 8037 §3.1). HMAC is none of them: its key would have
/// to be a secret, and the keys of an issuer are public.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// RSA (PKCS #1 v1.5) with SHA-256, of 2048 bits or more.
    Rs256,
    /// ECDSA over P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// Finds an algorithm by its exact name.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            "EdDSA" => Some(Self::EdDsa),
            _ => None,
        }
    }
}

/// A public key, which verifies one algorithm.
#[derive(Debug)]
pub(super) struct Key {
    algorithm: Algorithm,
    material: Material,
}

#[derive(Debug)]
enum Material {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// In the form that ring takes.
    Bytes(Vec<u8>),
}

impl Key {
    /// Tells whether a message was signed with the key. A signature that says it is of another algorithm is none.
    pub(super) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        if algorithm != self.algorithm {
            return false;
        }
        match (&self.material, algorithm) {
            (Material::Rsa { modulus, exponent }, _) => RsaPublicKeyComponents {
                n: modulus,
                e: exponent,
            }
            .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            .is_ok(),
            (Material::Bytes(bytes), Algorithm::EdDsa) => UnparsedPublicKey::new(&ED25519, bytes)
                .verify(message, signature)
                .is_ok(),
            (Material::Bytes(bytes), Algorithm::Es256 | Algorithm::Rs256) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, bytes)
                    .verify(message, signature)
                    .is_ok()
            }
        }
    }

    /// Reads a key; `None` for one of another kind or for another use.
    fn parse(jwk: &Map<String, Value>) -> Option<(String, Self)> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
        let is_for_signatures = jwk.get("use").is_none_or(|used| used.as_str() == Some("sig"))
            && jwk.get("key_ops").is_none_or(|operations| {
                let operations = operations.as_array();
                operations.is_some_and(|all| all.iter().any(|one| one.as_str() == Some("verify")))
            });
        if !is_for_signatures {
            return None;
        }
        let (algorithm, material) = match (text("kty")?, text("crv")) {
            ("RSA", _) => (
                Algorithm::Rs256,
                Material::Rsa {
                    modulus: without_leading_zeros(bytes("n")?),
                    exponent: without_leading_zeros(bytes("e")?),
                },
            ),
            ("EC", Some("P-256")) => {
                let (x, y) = (bytes("x")?, bytes("y")?);
                // An uncompressed point (SEC 1 §2.3.3).
                let point = [[4].as_slice(), &x, &y].concat();
                (Algorithm::Es256, Material::Bytes(point))
            }
            ("OKP", Some("Ed25519")) => (Algorithm::EdDsa, Material::Bytes(bytes("x")?)),
            _ => return None,
        };
        let is_of_algorithm = match jwk.get("alg") {
            None => true,
            Some(named) => named.as_str().and_then(Algorithm::from_name) == Some(algorithm),
        };
        let kid = text("kid").filter(|kid| !kid.is_empty())?;
        is_of_algorithm.then(|| (kid.to_owned(), Self { algorithm, material }))
    }
}

/// ring takes numbers in their shortest form only; some issuers write a zero in front.
fn without_leading_zeros(bytes: Vec<u8>) -> Vec<u8> {
    bytes.into_iter().skip_while(|byte| *byte == 0).collect()
}

/// Reads the keys that can be used. Those of other kinds are left out, as RFC 7517 §5 asks; `None` if the text is no
/// JWK set, or there is none that can be used. Of two with one id, neither is used: which one is meant would be a guess.
pub(super) fn parse(text: &[u8]) -> Option<HashMap<String, Key>> {
    let set = json::object(text)?;
    let mut found: HashMap<String, Option<Key>> = HashMap::new();
    for jwk in set.get("keys")?.as_array()? {
        if let Some((kid, key)) = jwk.as_object().and_then(Key::parse) {
            found
                .entry(kid)
                .and_modify(|one| *one = None)
                .or_insert(Some(key));
        }
    }
    let keys: HashMap<String, Key> = found
        .into_iter()
        .filter_map(|(kid, key)| Some((kid, key?)))
        .collect();
    (!keys.is_empty()).then_some(keys)
}

#[cfg(test)]
mod tests {
    use super::parse;

    /// The point of RFC 7515 appendix A.3.1.
    const POINT: &str = r#""crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0""#;

    fn kids(text: &str) -> Vec<String> {
        let mut kids: Vec<String> = parse(text.as_bytes()).unwrap_or_default().into_keys().collect();
        kids.sort();
        kids
    }

    #[test]
    fn keys_of_other_kinds_and_uses_are_left_out() {
        let text = format!(
            r#"{{"keys":[
                {{"kty":"EC",{POINT},"kid":"good","use":"sig","alg":"ES256"}},
                {{"kty":"EC",{POINT},"kid":"plain"}},
                {{"kty":"EC",{POINT},"kid":"for-encryption","use":"enc"}},
                {{"kty":"EC",{POINT},"kid":"signs","key_ops":["sign"]}},
                {{"kty":"EC",{POINT},"kid":"other-algorithm","alg":"RS256"}},
                {{"kty":"EC",{POINT},"kid":""}},
                {{"kty":"EC",{POINT}}},
                {{"kty":"EC",{POINT},"kid":"twice"}},
                {{"kty":"EC",{POINT},"kid":"twice"}},
                {{"kty":"oct","k":"AAAA","kid":"secret","alg":"HS256"}},
                {{"kty":"RSA","kid":"no-number","e":"AQAB"}},
                {{"kty":"EC","crv":"P-384","x":"AA","y":"AA","kid":"other-curve"}},
                7
            ]}}"#
        );
        assert_eq!(kids(&text), ["good", "plain"]);
    }

    #[test]
    fn what_is_no_set_of_keys_is_refused() {
        for text in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[]}"#, "<html>"] {
            assert!(parse(text.as_bytes()).is_none(), "{text}");
        }
    }
}
