//! Signing keys as they are stored: encrypted.

use crate::database::{Database, DatabaseError, read, transaction};
use crate::domain::{KeyPlan, KeyRotation, SigningKeyRecord};

/// Reads and changes signing keys. Cheap to clone.
#[derive(Clone)]
pub struct SigningKeyRepository {
    database: Database,
}

impl SigningKeyRepository {
    /// Makes a repository over a database.
    #[must_use]
    pub const fn new(database: Database) -> Self {
        Self { database }
    }

    /// Returns every key.
    pub async fn list(&self) -> Result<Vec<SigningKeyRecord>, DatabaseError> {
        read!(self.database, signing_keys::list, ())
    }

    /// Changes the keys, and returns what it wrote; `None` if the key to revoke does not exist.
    pub async fn change(&self, rotation: KeyRotation) -> Result<Option<KeyPlan>, DatabaseError> {
        transaction!(self.database, signing_keys::change, rotation)
    }
}
