//! Texts that callers keep for the service: encrypted with AES-256-GCM, so that they tell nothing and cannot be made up.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

use crate::master_key::{KeyPurpose, MasterKey};

/// Seals and opens texts of one kind.
pub(super) struct Seal(LessSafeKey);

impl Seal {
    /// Derives the key; `None` only if the cipher does not take keys of its own length.
    pub(super) fn new(master_key: &MasterKey, purpose: KeyPurpose) -> Option<Self> {
        let key = master_key.derive(purpose);
        let key = UnboundKey::new(&AES_256_GCM, key.as_slice()).ok()?;
        Some(Self(LessSafeKey::new(key)))
    }

    /// Seals bytes. `context` must be the same when they are opened.
    pub(super) fn seal(&self, plain: &[u8], context: &[u8]) -> Option<String> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).ok()?;
        let mut sealed = plain.to_vec();
        self.0
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(context),
                &mut sealed,
            )
            .ok()?;
        Some(URL_SAFE_NO_PAD.encode([nonce.as_slice(), &sealed].concat()))
    }

    /// Opens a text that was sealed here.
    pub(super) fn open(&self, text: &str, context: &[u8]) -> Option<Vec<u8>> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_LEN>()?;
        let mut sealed = sealed.to_vec();
        let plain = self
            .0
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(context),
                &mut sealed,
            )
            .ok()?;
        Some(plain.to_vec())
    }
}
