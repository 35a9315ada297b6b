//! Failed attempts as they are counted.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use ring::hmac;

use crate::database::{Database, DatabaseError, read, transaction};
use crate::domain::{
    ClearLockout, Command, Identifier, Lockout, LockoutKey, LockoutPolicy, Network, Reservation,
    ReserveAttempt, UserId,
};
use crate::master_key::{KeyPurpose, MasterKey};

/// Counts attempts. Cheap to clone.
#[derive(Clone)]
pub struct LockoutRepository {
    database: Database,
    policy: LockoutPolicy,
    key: Arc<hmac::Key>,
}

impl fmt::Debug for LockoutRepository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockoutRepository")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

impl LockoutRepository {
    /// Makes a repository over a database. What is stored is hidden under a key derived from the master key.
    #[must_use]
    pub fn new(database: Database, policy: LockoutPolicy, master_key: &MasterKey) -> Self {
        let key = master_key.derive(KeyPurpose::Lockouts);
        Self {
            database,
            policy,
            key: Arc::new(hmac::Key::new(hmac::HMAC_SHA256, key.as_slice())),
        }
    }

    /// Returns what the attempts to sign in as a user are counted under. However the login name is written, and
    /// whichever of the two it is, they are counted together.
    #[must_use]
    pub fn subject_of_user(&self, id: UserId) -> [u8; 32] {
        self.digest(&[b"user:", id.uuid().as_bytes()])
    }

    /// Returns what the attempts with a login name are counted under that is nobody's.
    #[must_use]
    pub fn subject_of_stranger(&self, identifier: &Identifier) -> [u8; 32] {
        self.digest(&[b"stranger:", &identifier.canonical()])
    }

    /// Counts an attempt before it is decided, or refuses it because too many failed.
    pub async fn reserve(
        &self,
        subject: [u8; 32],
        network: &Network,
        now: DateTime<Utc>,
    ) -> Result<Reservation, DatabaseError> {
        let attempt = self.attempt(subject, network, now);
        transaction!(self.database, lockouts::reserve, attempt)
    }

    /// Returns an attempt as it is counted.
    #[must_use]
    pub fn attempt(&self, subject: [u8; 32], network: &Network, now: DateTime<Utc>) -> ReserveAttempt {
        let key = LockoutKey {
            subject,
            network: self.digest(&[b"network:", &subject, &network.bytes()]),
        };
        ReserveAttempt {
            key,
            policy: self.policy,
            now,
        }
    }

    /// Takes an attempt back that was counted but not decided.
    pub async fn release(
        &self,
        reservation: Reservation,
        now: DateTime<Utc>,
    ) -> Result<(), DatabaseError> {
        transaction!(self.database, lockouts::release, (reservation, now))
    }

    /// Forgets the failures of the network of an attempt that turned out right.
    pub async fn succeed(
        &self,
        reservation: Reservation,
        now: DateTime<Utc>,
    ) -> Result<(), DatabaseError> {
        transaction!(self.database, lockouts::succeed, (reservation, now))
    }

    /// Returns the state of the counters of a subject.
    pub async fn get(&self, subject: [u8; 32], now: DateTime<Utc>) -> Result<Lockout, DatabaseError> {
        read!(self.database, lockouts::get, (subject, self.policy, now))
    }

    /// Forgets the failures of a subject.
    pub async fn clear(&self, clear: Command<ClearLockout>) -> Result<(), DatabaseError> {
        transaction!(self.database, lockouts::clear, clear)
    }

    /// Deletes rows that mean nothing any more, in batches, and returns how many. Needs no key.
    pub async fn purge(database: &Database, now: DateTime<Utc>) -> Result<usize, DatabaseError> {
        purge!(database, lockouts::purge, |batch| (now, batch))
    }

    fn digest(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
            context.update(part);
        }
        let mut bytes = [0; 32];
        bytes.copy_from_slice(context.sign().as_ref());
        bytes
    }
}
