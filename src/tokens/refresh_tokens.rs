//! Refresh tokens, derived rather than drawn.
//!
//! Token n of a session is the session, n, and an HMAC of both under a key derived from the master key. So nothing
//! secret is at rest, whoever repeats an exchange gets the same token again, and a token that was not issued
//! is recognised without asking the database.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{SecretToken, hash_of};
use crate::domain::SessionId;
use crate::master_key::{KeyPurpose, MasterKey};

/// What a refresh token begins with, so that scanners for leaked secrets recognise it.
const PREFIX: &str = "idr_";

/// The session and the generation, which are not secret.
const NAME_BYTES: usize = 16 + 8;

/// Makes and reads refresh tokens. Cheap to clone.
#[derive(Clone)]
pub struct RefreshTokens(Arc<hmac::Key>);

impl fmt::Debug for RefreshTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RefreshTokens([redacted])")
    }
}

/// A refresh token that this service issued, at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PresentedRefreshToken {
    /// Its session.
    pub session_id: SessionId,
    /// Its number in the session.
    pub generation: i64,
    /// The form in which it is stored.
    pub token_hash: [u8; 32],
}

impl RefreshTokens {
    /// Derives the key.
    #[must_use]
    pub fn new(master_key: &MasterKey) -> Self {
        let key = master_key.derive(KeyPurpose::RefreshTokens);
        Self(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, key.as_slice())))
    }

    /// Returns the token of a generation, and the form in which it is stored.
    #[must_use]
    pub fn issue(&self, session_id: SessionId, generation: i64) -> (SecretToken, [u8; 32]) {
        let mut bytes = Zeroizing::new(Vec::with_capacity(NAME_BYTES + 32));
        bytes.extend_from_slice(session_id.uuid().as_bytes());
        bytes.extend_from_slice(&generation.to_be_bytes());
        let tag = hmac::sign(&self.0, &bytes);
        bytes.extend_from_slice(tag.as_ref());
        let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes.as_slice()));
        let hash = hash_of(&text);
        (SecretToken::new(text), hash)
    }

    /// Recognises a token; `None` for whatever this service did not issue, to the last bit.
    #[must_use]
    pub fn read(&self, text: &str) -> Option<PresentedRefreshToken> {
        let encoded = text.strip_prefix(PREFIX)?;
        let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(encoded).ok()?);
        let (name, tag) = bytes.split_first_chunk::<NAME_BYTES>()?;
        hmac::verify(&self.0, name, tag).ok()?;
        let (session_id, generation) = name.split_first_chunk::<16>()?;
        Some(PresentedRefreshToken {
            session_id: SessionId::from_stored(Uuid::from_bytes(*session_id)),
            generation: i64::from_be_bytes(generation.try_into().ok()?),
            token_hash: hash_of(text),
        })
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::RefreshTokens;
    use crate::domain::SessionId;
    use crate::master_key::MasterKey;

    fn tokens(key: &str) -> RefreshTokens {
        RefreshTokens::new(&MasterKey::parse(key).expect("a key"))
    }

    #[test]
    fn only_what_was_issued_is_recognised() {
        let ours = tokens("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
        let others = tokens("AQECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
        let session = SessionId::generate(DateTime::UNIX_EPOCH);
        let (token, hash) = ours.issue(session, 7);
        let read = ours.read(token.reveal()).expect("our token");
        assert_eq!((read.session_id, read.generation), (session, 7));
        assert_eq!(read.token_hash, hash);
        assert_eq!(ours.issue(session, 7).0, token);
        assert_ne!(ours.issue(session, 8).0, token);

        assert_eq!(others.read(token.reveal()), None);
        let text = token.reveal();
        for length in 0..text.len() {
            let cut: String = text.chars().take(length).collect();
            assert_eq!(ours.read(&cut), None, "{length} characters");
        }
        for suffix in ["A", "=", " ", "\n"] {
            assert_eq!(ours.read(&format!("{text}{suffix}")), None, "{suffix:?}");
        }
        // Every character stands for bits that count, the unused ones at the end included.
        for index in 4..text.len() {
            for replacement in "AQgw_-z9".chars() {
                let mut changed: Vec<char> = text.chars().collect();
                if changed[index] != replacement {
                    changed[index] = replacement;
                    let changed: String = changed.into_iter().collect();
                    assert_eq!(ours.read(&changed), None, "{index} {replacement}");
                }
            }
        }
    }
}
