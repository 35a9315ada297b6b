//! Rows of `service_tokens`.

use diesel::prelude::{Insertable, Queryable, Selectable};

use crate::database::schema::service_tokens;
use crate::database::sql_types::{StoredTime, StoredUuid};
use crate::domain::{NewServiceToken, Scopes, ServiceName, ServiceToken, ServiceTokenId};

/// A row of `service_tokens`, without the digest.
#[derive(Queryable, Selectable)]
#[diesel(table_name = service_tokens)]
pub(crate) struct ServiceTokenRow {
    id: StoredUuid,
    name: String,
    scopes: String,
    expires_at: Option<StoredTime>,
    revoked_at: Option<StoredTime>,
    last_used_at: Option<StoredTime>,
    created_at: StoredTime,
}

impl From<ServiceTokenRow> for ServiceToken {
    fn from(row: ServiceTokenRow) -> Self {
        Self {
            id: ServiceTokenId::from_stored(row.id.0),
            name: ServiceName::from_stored(row.name),
            scopes: Scopes::from_stored(&row.scopes),
            expires_at: row.expires_at.map(|time| time.0),
            revoked_at: row.revoked_at.map(|time| time.0),
            last_used_at: row.last_used_at.map(|time| time.0),
            created_at: row.created_at.0,
        }
    }
}

/// A row of `service_tokens` to be inserted.
#[derive(Insertable)]
#[diesel(table_name = service_tokens)]
#[diesel(treat_none_as_default_value = false)]
pub(crate) struct NewServiceTokenRow {
    id: StoredUuid,
    name: String,
    token_hash: Vec<u8>,
    scopes: String,
    expires_at: Option<StoredTime>,
    created_at: StoredTime,
}

impl From<&NewServiceToken> for NewServiceTokenRow {
    fn from(new: &NewServiceToken) -> Self {
        let token = &new.token;
        Self {
            id: token.id.into(),
            name: token.name.as_str().to_owned(),
            token_hash: new.token_hash.to_vec(),
            scopes: token.scopes.to_string(),
            expires_at: token.expires_at.map(StoredTime),
            created_at: StoredTime(token.created_at),
        }
    }
}
