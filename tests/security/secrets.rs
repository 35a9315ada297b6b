//! The secrets of a server, as a test can work them out that has its master key.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use identity::master_key::{KeyPurpose, MasterKey};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest::{SHA256, digest};

use super::scan::SecretBytes;
use crate::support::{Backend, Test};

/// The form in which the servers of a test are given their master key.
pub fn master_key(t: &Test) -> String {
    let environment = t.environment();
    let (_, key) = environment
        .iter()
        .find(|(name, _)| name == "IDENTITY_MASTER_KEY")
        .unwrap();
    key.clone()
}

/// The master key, every key derived from it, and the private keys that sign.
pub async fn keys(t: &Test) -> Vec<SecretBytes> {
    let text = master_key(t);
    let master_key = MasterKey::parse(&text).unwrap();
    let mut keys = vec![SecretBytes {
        name: "the master key".to_owned(),
        bytes: STANDARD.decode(&text).unwrap(),
    }];
    for purpose in [
        KeyPurpose::PageTokens,
        KeyPurpose::ResumeTokens,
        KeyPurpose::RequestFingerprints,
        KeyPurpose::RefreshTokens,
        KeyPurpose::SigningKeys,
        KeyPurpose::Lockouts,
    ] {
        keys.push(SecretBytes {
            name: format!("the key for {purpose:?}"),
            bytes: master_key.derive(purpose).to_vec(),
        });
    }
    for document in private_keys(t, &master_key).await {
        // In the middle of the document, which is the same in every one around it, is the number itself.
        keys.push(SecretBytes {
            name: "the number of a signing key".to_owned(),
            bytes: document[36..68].to_vec(),
        });
        keys.push(SecretBytes {
            name: "a signing key".to_owned(),
            bytes: document,
        });
    }
    keys
}

/// The private signing keys (PKCS #8), decrypted.
async fn private_keys(t: &Test, master_key: &MasterKey) -> Vec<Vec<u8>> {
    let seal = master_key.derive(KeyPurpose::SigningKeys);
    let seal = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, seal.as_slice()).unwrap());
    let hex = match t.backend {
        Backend::Postgres => "encode(private_key, 'hex')",
        Backend::Sqlite => "hex(private_key)",
    };
    let query = format!("SELECT kid || ' ' || {hex} AS value FROM signing_keys");
    let rows = t.sql_values(&query).await;
    assert!(!rows.is_empty(), "a server has a signing key");
    rows.into_iter()
        .map(|row| {
            let row = row.unwrap();
            let (kid, encrypted) = row.split_once(' ').unwrap();
            let bytes = from_hex(encrypted);
            let (nonce, sealed) = bytes.split_first_chunk::<NONCE_LEN>().unwrap();
            let aad = Aad::from(format!("signing_keys.private_key {kid}"));
            let mut document = sealed.to_vec();
            let nonce = Nonce::assume_unique_for_key(*nonce);
            seal.open_in_place(nonce, aad, &mut document).unwrap().to_vec()
        })
        .collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|index| u8::from_str_radix(&text[index..index + 2], 16).unwrap())
        .collect()
}

/// The last characters of tokens, which are as secret as the whole, for logs that cut.
pub fn ends_of(tokens: &[String]) -> Vec<String> {
    const END: usize = 24;
    tokens
        .iter()
        .map(|token| token[token.len() - END..].to_owned())
        .collect()
}

/// The digests by which tokens are found.
pub fn digests_of(tokens: &[String]) -> Vec<SecretBytes> {
    tokens
        .iter()
        .map(|token| SecretBytes {
            name: format!("the digest of {token}"),
            bytes: digest(&SHA256, token.as_bytes()).as_ref().to_vec(),
        })
        .collect()
}

/// The bytes that opaque tokens encode: of a refresh token its authentication code, of a one-time
/// token all, of a service token what comes before its checksum.
pub fn codes_of(tokens: &[String]) -> Vec<SecretBytes> {
    const CODE_BYTES: usize = 32;
    let encoded = |token: &String| {
        if let Some(digits) = token.strip_prefix("ids_") {
            return Some(from_hex(&digits[..2 * CODE_BYTES]));
        }
        let text = token.strip_prefix("idr_").or(token.strip_prefix("ido_"))?;
        Some(URL_SAFE_NO_PAD.decode(text).unwrap())
    };
    tokens
        .iter()
        .filter_map(|token| {
            let bytes = encoded(token)?;
            Some(SecretBytes {
                name: format!("the code of {token}"),
                bytes: bytes[bytes.len() - CODE_BYTES..].to_vec(),
            })
        })
        .collect()
}
