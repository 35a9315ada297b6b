//! Queries of `request_ids`.

use chrono::{DateTime, Utc};
use diesel::prelude::{ExpressionMethods, OptionalExtension, QueryDsl, SelectableHelper};
use diesel_async::RunQueryDsl;

use super::Connection;
use crate::database::DatabaseError;
use crate::database::rows::RequestIdRow;
use crate::database::schema::request_ids;
use crate::database::sql_types::{StoredTime, StoredUuid};
use crate::domain::{Refusal, RequestRecord, UserId};

/// Whether a request is new.
pub(crate) enum Claim {
    /// It is: its record has been written in this transaction.
    New,
    /// It was carried out before, on this user.
    Done(UserId),
}

/// Returns the user that an earlier request with the same id was about.
pub(crate) async fn find(
    connection: &mut Connection,
    record: &RequestRecord,
) -> Result<Option<UserId>, DatabaseError> {
    let row = request_ids::table
        .find((&record.caller, record.method, StoredUuid(record.request_id)))
        .filter(request_ids::expires_at.gt(StoredTime(record.now)))
        .select(RequestIdRow::as_select())
        .first(connection)
        .await
        .optional()?;
    row.map(|row| user_of(&row, record)).transpose()
}

/// Writes the record of a request, unless there is one. Of several transactions with the same id, one
/// writes it and the others wait for that one to end.
pub(crate) async fn claim(
    tx: &mut Connection,
    record: Option<&RequestRecord>,
    user_id: UserId,
) -> Result<Claim, DatabaseError> {
    let Some(record) = record else {
        return Ok(Claim::New);
    };
    diesel::delete(request_ids::table.find((
        &record.caller,
        record.method,
        StoredUuid(record.request_id),
    )))
    .filter(request_ids::expires_at.le(StoredTime(record.now)))
    .execute(tx)
    .await?;
    let row = RequestIdRow {
        caller: record.caller.clone(),
        method: record.method.to_owned(),
        request_id: StoredUuid(record.request_id),
        fingerprint: record.fingerprint.to_vec(),
        user_id: user_id.into(),
        created_at: StoredTime(record.now),
        expires_at: StoredTime(record.expires_at()),
    };
    let written = diesel::insert_into(request_ids::table)
        .values(&row)
        .on_conflict_do_nothing()
        .execute(tx)
        .await?;
    if written == 1 {
        return Ok(Claim::New);
    }
    match find(tx, record).await? {
        Some(earlier) => Ok(Claim::Done(earlier)),
        // The other transaction's record went away again in between.
        None => Err(DatabaseError::Conflict(
            "a request id was claimed and released".to_owned(),
        )),
    }
}

/// Deletes records that have expired, at most `batch` of them, and returns how many.
pub(crate) async fn purge(
    tx: &mut Connection,
    (now, batch): &(DateTime<Utc>, i64),
) -> Result<usize, DatabaseError> {
    let expired: Vec<(String, String, StoredUuid)> = request_ids::table
        .filter(request_ids::expires_at.le(StoredTime(*now)))
        .select((request_ids::caller, request_ids::method, request_ids::request_id))
        .order(request_ids::expires_at)
        .limit(*batch)
        .load(tx)
        .await?;
    let mut deleted = 0;
    for (caller, method, request_id) in expired {
        deleted += diesel::delete(request_ids::table.find((caller, method, request_id)))
            .filter(request_ids::expires_at.le(StoredTime(*now)))
            .execute(tx)
            .await?;
    }
    Ok(deleted)
}

fn user_of(row: &RequestIdRow, record: &RequestRecord) -> Result<UserId, DatabaseError> {
    if row.fingerprint == record.fingerprint {
        Ok(UserId::from_stored(row.user_id.0))
    } else {
        Err(Refusal::RequestIdReused.into())
    }
}
