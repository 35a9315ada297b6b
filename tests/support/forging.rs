//! Access tokens that the service did not write, some of them signed with its own key.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use identity::master_key::{KeyPurpose, MasterKey};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};

use super::{Backend, Test};

/// A key that signs whatever it is given.
pub struct Forger {
    /// The id of the key.
    pub kid: String,
    pair: EcdsaKeyPair,
    document: Vec<u8>,
}

impl Forger {
    /// Takes the newest key of the service out of its database, as only somebody with the master key can.
    pub async fn with_key_of_service(t: &Test) -> Self {
        let newest = "FROM signing_keys WHERE retires_at IS NULL";
        let kid = t
            .sql_value(&format!("SELECT kid AS value {newest}"))
            .await
            .unwrap();
        let hex = match t.backend {
            Backend::Sqlite => "hex(private_key)",
            Backend::Postgres => "encode(private_key, 'hex')",
        };
        let stored = t.sql_value(&format!("SELECT {hex} AS value {newest}")).await;
        let stored = from_hex(&stored.unwrap());
        let (nonce, sealed) = stored.split_first_chunk::<NONCE_LEN>().unwrap();

        let master_key = MasterKey::load(&t.settings(&[]).master_key, &t.data_dir(), false).unwrap();
        let derived = master_key.derive(KeyPurpose::SigningKeys);
        let seal = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, derived.as_slice()).unwrap());
        let row = Aad::from(format!("signing_keys.private_key {kid}"));
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let mut document = sealed.to_vec();
        let document = seal.open_in_place(nonce, row, &mut document).unwrap();
        Self::from_document(document)
    }

    /// Makes a key that the service does not know.
    pub fn with_key_of_its_own() -> Self {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        Self::from_document(document.as_ref())
    }

    fn from_document(document: &[u8]) -> Self {
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, document, &SystemRandom::new()).unwrap();
        let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
        let kid = thumbprint(&URL_SAFE_NO_PAD.encode(x), &URL_SAFE_NO_PAD.encode(y));
        Self {
            kid,
            pair,
            document: document.to_vec(),
        }
    }

    /// Returns the public key: an uncompressed point.
    pub fn public_key(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// Returns the private key: a number of 32 bytes.
    pub fn private_key(&self) -> Vec<u8> {
        /// Where it is in the PKCS #8 document of a key of P-256.
        const PLACE: std::ops::Range<usize> = 36..68;
        self.document[PLACE].to_vec()
    }

    /// Returns the header that the service would write.
    pub fn header(&self) -> Value {
        json!({ "alg": "ES256", "kid": self.kid, "typ": "at+jwt" })
    }

    /// Signs claims under the header that the service would write.
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_texts(&self.header().to_string(), &claims.to_string())
    }

    /// Signs claims under any header.
    pub fn sign_under(&self, header: &Value, claims: &Value) -> String {
        self.sign_texts(&header.to_string(), &claims.to_string())
    }

    /// Signs two texts, which need not be JSON.
    pub fn sign_texts(&self, header: &str, claims: &str) -> String {
        self.sign_encoded(&format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(claims)
        ))
    }

    /// Signs what should be two encoded parts with a dot between.
    pub fn sign_encoded(&self, message: &str) -> String {
        let signature = self.pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// Returns the three parts of a token as they are encoded.
pub fn parts_of(token: &str) -> [&str; 3] {
    let parts: Vec<&str> = token.split('.').collect();
    parts.try_into().expect("three parts")
}

/// Returns the header of a token.
pub fn header_of(token: &str) -> Value {
    decoded(parts_of(token)[0])
}

/// Returns the claims of a token.
pub fn claims_of(token: &str) -> Value {
    decoded(parts_of(token)[1])
}

/// Returns the id of the key that signed a token.
pub fn kid_of(token: &str) -> String {
    header_of(token)["kid"].as_str().expect("a kid").to_owned()
}

/// Returns the thumbprint of a public key of P-256 (RFC 7638), from its coordinates.
pub fn thumbprint(x: &str, y: &str) -> String {
    let members = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    URL_SAFE_NO_PAD.encode(ring::digest::digest(&ring::digest::SHA256, members.as_bytes()))
}

fn decoded(part: &str) -> Value {
    let bytes = URL_SAFE_NO_PAD.decode(part).expect("base64url");
    serde_json::from_slice(&bytes).expect("JSON")
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .map(|digit| u8::try_from(digit.to_digit(16).unwrap()).unwrap())
        .collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}
