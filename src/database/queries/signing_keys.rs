//! Queries of `signing_keys`.

use diesel::prelude::{QueryDsl, SelectableHelper};
use diesel_async::RunQueryDsl;

use super::{Connection, lock_signing_keys};
use crate::database::DatabaseError;
use crate::database::kept::Keep;
use crate::database::rows::SigningKeyRow;
use crate::database::schema::signing_keys;
use crate::domain::{KeyPlan, KeyRotation, SigningKeyRecord};

/// Returns every key, in the order of their ids.
pub(crate) async fn list(
    connection: &mut Connection,
    (): &(),
) -> Result<Vec<SigningKeyRecord>, DatabaseError> {
    let rows: Vec<SigningKeyRow> = signing_keys::table
        .select(SigningKeyRow::as_select())
        .order(signing_keys::kid)
        .load(connection)
        .await?;
    Ok(rows.into_iter().map(SigningKeyRecord::from).collect())
}

/// Changes the keys, and returns what it wrote; `None` if the key to revoke does not exist.
pub(crate) async fn change(
    tx: &mut Connection,
    rotation: &KeyRotation,
) -> Result<Option<KeyPlan>, DatabaseError> {
    let keys = lock_signing_keys(tx).await?;
    let Some(plan) = rotation.plan(&keys) else {
        return Ok(None);
    };
    for key in &plan.updated {
        diesel::update(signing_keys::table.find(&key.kid))
            .set(SigningKeyRow::from(key))
            .kept()
            .execute(tx)
            .await?;
    }
    if let Some(key) = &plan.inserted {
        // Of several processes that do this at once, the index of the newest key lets one succeed.
        diesel::insert_into(signing_keys::table)
            .values(SigningKeyRow::from(key))
            .execute(tx)
            .await?;
    }
    Ok(Some(plan))
}
