//! Queries of `service_tokens`.

use chrono::{DateTime, Utc};
use diesel::prelude::{
    BoolExpressionMethods, ExpressionMethods, OptionalExtension, QueryDsl, SelectableHelper,
};
use diesel_async::RunQueryDsl;

use super::Connection;
use crate::database::DatabaseError;
use crate::database::kept::Keep;
use crate::database::rows::{NewServiceTokenRow, ServiceTokenRow};
use crate::database::schema::service_tokens;
use crate::database::sql_types::{StoredTime, StoredUuid};
use crate::domain::{NewServiceToken, ServiceToken, ServiceTokenId};

/// Returns every token with its digest, the oldest first.
pub(crate) async fn list_with_hashes(
    connection: &mut Connection,
    (): &(),
) -> Result<Vec<([u8; 32], ServiceToken)>, DatabaseError> {
    let rows: Vec<(Vec<u8>, ServiceTokenRow)> = service_tokens::table
        .select((service_tokens::token_hash, ServiceTokenRow::as_select()))
        .order((service_tokens::created_at, service_tokens::id))
        .load(connection)
        .await?;
    // The database checks the length.
    let tokens = rows
        .into_iter()
        .filter_map(|(hash, row)| Some((hash.try_into().ok()?, row.into())));
    Ok(tokens.collect())
}

/// Stores a token.
pub(crate) async fn create(tx: &mut Connection, new: &NewServiceToken) -> Result<(), DatabaseError> {
    diesel::insert_into(service_tokens::table)
        .values(NewServiceTokenRow::from(new))
        .execute(tx)
        .await?;
    Ok(())
}

/// Stores a token unless there is one already, whatever it is. Tells whether it did.
pub(crate) async fn create_first(
    tx: &mut Connection,
    new: &NewServiceToken,
) -> Result<bool, DatabaseError> {
    let present: i64 = service_tokens::table.count().get_result(tx).await?;
    if present > 0 {
        return Ok(false);
    }
    create(tx, new).await?;
    Ok(true)
}

/// Revokes a token, and returns it as it is afterwards. One that was revoked before stays as it is.
pub(crate) async fn revoke(
    tx: &mut Connection,
    (id, now): &(ServiceTokenId, DateTime<Utc>),
) -> Result<Option<ServiceToken>, DatabaseError> {
    let token = service_tokens::table.find(StoredUuid::from(*id));
    diesel::update(token.filter(service_tokens::revoked_at.is_null()))
        .set(service_tokens::revoked_at.eq(Some(StoredTime(*now))))
        .kept()
        .execute(tx)
        .await?;
    let row = token
        .select(ServiceTokenRow::as_select())
        .first(tx)
        .await
        .optional()?;
    Ok(row.map(ServiceToken::from))
}

/// Records when tokens were last used.
pub(crate) async fn record_uses(
    tx: &mut Connection,
    uses: &Vec<(ServiceTokenId, DateTime<Utc>)>,
) -> Result<(), DatabaseError> {
    for (id, time) in uses {
        let time = StoredTime(*time);
        let earlier = service_tokens::table.find(StoredUuid::from(*id)).filter(
            service_tokens::last_used_at
                .is_null()
                .or(service_tokens::last_used_at.lt(time)),
        );
        diesel::update(earlier)
            .set(service_tokens::last_used_at.eq(Some(time)))
            .kept()
            .execute(tx)
            .await?;
    }
    Ok(())
}
