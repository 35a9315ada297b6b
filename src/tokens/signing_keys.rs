//! The keys that sign access tokens: shared by all replicas through the database, where their private parts
//! are encrypted.
//!
//! Every replica keeps a copy and reads it again every few seconds. A new key is published for longer than that,
//! and longer than anyone may keep the list, before it signs; so a key that is not in the copy is not ours, and
//! looking one up never asks the database.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use chrono::{DateTime, TimeDelta, Utc};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use zeroize::Zeroizing;

use super::jws::PublicJwk;
use crate::database::DatabaseError;
use crate::domain::{KeyChange, KeyPlan, KeyRotation, SigningKeyRecord};
use crate::master_key::{KeyPurpose, MasterKey};
use crate::repositories::SigningKeyRepository;

/// Why a token cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The keys were encrypted under another master key.
    #[error("the signing keys in the database were encrypted under another master key")]
    WrongMasterKey,
    /// No key signs at present.
    #[error("there is no active signing key")]
    NoActiveKey,
    /// There is no key with this id.
    #[error("there is no signing key with this id")]
    UnknownKey,
    /// The operating system gives no random bytes.
    #[error("the operating system gives no random bytes")]
    NoRandomness,
}

/// The signing keys. Cheap to clone; all clones share one copy.
#[derive(Clone)]
pub struct SigningKeys {
    repository: SigningKeyRepository,
    seal: Arc<LessSafeKey>,
    token_lifetime: TimeDelta,
    copy: Arc<RwLock<Arc<Vec<Arc<LoadedKey>>>>>,
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKeys([redacted])")
    }
}

/// A key that can sign.
pub(super) struct LoadedKey {
    pub(super) kid: String,
    pub(super) pair: EcdsaKeyPair,
    record: SigningKeyRecord,
}

impl SigningKeys {
    /// How long a list of keys may be kept by whoever fetched it.
    pub const MAX_AGE: TimeDelta = TimeDelta::minutes(5);

    /// How long a key is published before it signs: a list may be kept for half of that.
    pub const LEAD: TimeDelta = TimeDelta::minutes(10);

    /// Derives the key that encrypts keys; `None` only if the cipher does not take keys of its own length.
    #[must_use]
    pub fn new(
        repository: SigningKeyRepository,
        master_key: &MasterKey,
        token_lifetime: TimeDelta,
    ) -> Option<Self> {
        let key = master_key.derive(KeyPurpose::SigningKeys);
        let key = UnboundKey::new(&AES_256_GCM, key.as_slice()).ok()?;
        Some(Self {
            repository,
            seal: Arc::new(LessSafeKey::new(key)),
            token_lifetime,
            copy: Arc::default(),
        })
    }

    /// Reads the keys again. Those that are there already are not decrypted again.
    pub async fn reload(&self) -> Result<(), TokenError> {
        let records = self.repository.list().await?;
        let present = self.copy();
        let mut loaded = Vec::with_capacity(records.len());
        for record in records {
            let known = present.iter().find(|key| key.record == record);
            loaded.push(match known {
                Some(key) => Arc::clone(key),
                None => Arc::new(self.open(record)?),
            });
        }
        // The oldest first, whatever order they came in.
        loaded.sort_by(|one, other| {
            let order = |key: &LoadedKey| (key.record.activates_at, key.kid.clone());
            order(one).cmp(&order(other))
        });
        *self.copy.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(loaded);
        Ok(())
    }

    /// Changes the keys, for all replicas, and reads them again. Returns what was changed.
    pub async fn change(&self, change: KeyChange, now: DateTime<Utc>) -> Result<KeyPlan, TokenError> {
        let rotation = KeyRotation {
            change,
            candidate: self.generate(now)?,
            lead: Self::LEAD,
            now,
        };
        let plan = self
            .repository
            .change(rotation)
            .await?
            .ok_or(TokenError::UnknownKey)?;
        self.reload().await?;
        Ok(plan)
    }

    /// Gives the newest key a successor if it has reached an age, and makes the first key if there is none. Asks
    /// the database only if the copy says that it is time.
    pub async fn rotate_by_age(
        &self,
        age: TimeDelta,
        now: DateTime<Utc>,
    ) -> Result<KeyPlan, TokenError> {
        let newest = self.copy().iter().find_map(|key| {
            let record = &key.record;
            record.retires_at.is_none().then_some(record.activates_at)
        });
        if newest.is_some_and(|activates_at| now < activates_at + age) {
            return Ok(KeyPlan::default());
        }
        self.change(KeyChange::RotateByAge(age), now).await
    }

    /// Returns the keys, the oldest first.
    #[must_use]
    pub fn records(&self) -> Vec<SigningKeyRecord> {
        self.copy().iter().map(|key| key.record.clone()).collect()
    }

    /// Returns the keys that tokens can be verified with, the oldest first.
    #[must_use]
    pub fn published(&self, now: DateTime<Utc>) -> Vec<(PublicJwk, SigningKeyRecord)> {
        self.copy()
            .iter()
            .filter(|key| key.record.is_published(self.token_lifetime, now))
            .filter_map(|key| Some((PublicJwk::of(&key.record.public_key)?, key.record.clone())))
            .collect()
    }

    /// Returns the key that signs at a time.
    ///
    /// The first key, and one in place of a revoked one, sign from the moment they are made. To a clock that is behind
    /// that moment they belong to the future, and yet there is no other: the one that comes first signs already.
    pub(super) fn active(&self, now: DateTime<Utc>) -> Result<Arc<LoadedKey>, TokenError> {
        let copy = self.copy();
        let is_upcoming =
            |key: &&Arc<LoadedKey>| key.record.revoked_at.is_none() && now < key.record.activates_at;
        copy.iter()
            .find(|key| key.record.is_active(now))
            .or_else(|| copy.iter().find(is_upcoming))
            .cloned()
            .ok_or(TokenError::NoActiveKey)
    }

    /// Returns a public key that tokens can be verified with.
    pub(super) fn public_key(&self, kid: &str, now: DateTime<Utc>) -> Option<Vec<u8>> {
        self.copy()
            .iter()
            .find(|key| key.kid == kid && key.record.is_published(self.token_lifetime, now))
            .map(|key| key.record.public_key.clone())
    }

    /// Tells whether tokens can be verified with a key.
    pub(super) fn is_published(&self, kid: &str, now: DateTime<Utc>) -> bool {
        self.copy()
            .iter()
            .any(|key| key.kid == kid && key.record.is_published(self.token_lifetime, now))
    }

    fn copy(&self) -> Arc<Vec<Arc<LoadedKey>>> {
        Arc::clone(&self.copy.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn generate(&self, now: DateTime<Utc>) -> Result<SigningKeyRecord, TokenError> {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
            .map_err(|_| TokenError::NoRandomness)?;
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random)
                .map_err(|_| TokenError::NoRandomness)?;
        let public_key = pair.public_key().as_ref().to_vec();
        let kid = PublicJwk::of(&public_key).ok_or(TokenError::NoRandomness)?.kid;
        let mut nonce = [0; NONCE_LEN];
        random.fill(&mut nonce).map_err(|_| TokenError::NoRandomness)?;
        let mut sealed = document.as_ref().to_vec();
        self.seal
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), row(&kid), &mut sealed)
            .map_err(|_| TokenError::NoRandomness)?;
        Ok(SigningKeyRecord {
            kid,
            public_key,
            private_key: [nonce.as_slice(), &sealed].concat(),
            activates_at: now,
            retires_at: None,
            revoked_at: None,
            created_at: now,
        })
    }

    fn open(&self, record: SigningKeyRecord) -> Result<LoadedKey, TokenError> {
        let (nonce, sealed) = record
            .private_key
            .split_first_chunk::<NONCE_LEN>()
            .ok_or(TokenError::WrongMasterKey)?;
        let mut sealed = Zeroizing::new(sealed.to_vec());
        let document = self
            .seal
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                row(&record.kid),
                &mut sealed,
            )
            .map_err(|_| TokenError::WrongMasterKey)?;
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document, &random)
            .map_err(|_| TokenError::WrongMasterKey)?;
        // A public key that somebody put into the row would have tokens verified that we did not sign.
        if pair.public_key().as_ref() != record.public_key.as_slice() {
            return Err(TokenError::WrongMasterKey);
        }
        Ok(LoadedKey {
            kid: record.kid.clone(),
            pair,
            record,
        })
    }
}

/// What an encrypted key is bound to: its table, its column and its row.
fn row(kid: &str) -> Aad<Vec<u8>> {
    Aad::from(format!("signing_keys.private_key {kid}").into_bytes())
}
