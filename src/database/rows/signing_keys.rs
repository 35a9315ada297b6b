//! Rows of `signing_keys`.

use diesel::prelude::{AsChangeset, Insertable, Queryable, Selectable};

use crate::database::schema::signing_keys;
use crate::database::sql_types::StoredTime;
use crate::domain::SigningKeyRecord;

/// A row of `signing_keys`.
#[derive(Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = signing_keys)]
#[diesel(primary_key(kid))]
#[diesel(treat_none_as_null = true)]
#[diesel(treat_none_as_default_value = false)]
pub(crate) struct SigningKeyRow {
    kid: String,
    algorithm: String,
    public_key: Vec<u8>,
    private_key: Vec<u8>,
    activates_at: StoredTime,
    retires_at: Option<StoredTime>,
    revoked_at: Option<StoredTime>,
    created_at: StoredTime,
}

/// The one algorithm of this version.
const ALGORITHM: &str = "ES256";

impl From<&SigningKeyRecord> for SigningKeyRow {
    fn from(key: &SigningKeyRecord) -> Self {
        Self {
            kid: key.kid.clone(),
            algorithm: ALGORITHM.to_owned(),
            public_key: key.public_key.clone(),
            private_key: key.private_key.clone(),
            activates_at: StoredTime(key.activates_at),
            retires_at: key.retires_at.map(StoredTime),
            revoked_at: key.revoked_at.map(StoredTime),
            created_at: StoredTime(key.created_at),
        }
    }
}

impl From<SigningKeyRow> for SigningKeyRecord {
    fn from(row: SigningKeyRow) -> Self {
        Self {
            kid: row.kid,
            public_key: row.public_key,
            private_key: row.private_key,
            activates_at: row.activates_at.0,
            retires_at: row.retires_at.map(|time| time.0),
            revoked_at: row.revoked_at.map(|time| time.0),
            created_at: row.created_at.0,
        }
    }
}
