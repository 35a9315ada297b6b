//! Queries of `refresh_tokens`.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::{ExpressionMethods, OptionalExtension, QueryDsl, SelectableHelper};
use diesel_async::RunQueryDsl;

use super::Connection;
use crate::database::DatabaseError;
use crate::database::kept::Keep;
use crate::database::rows::RefreshTokenRow;
use crate::database::schema::{refresh_tokens, sessions};
use crate::database::sql_types::{StoredTime, StoredUuid};
use crate::domain::{EndSessions, NewRefreshToken, RefreshToken, Rotation, Session, SessionId};

/// Returns the token with a digest.
pub(crate) async fn get_by_token_hash(
    connection: &mut Connection,
    token_hash: &[u8; 32],
) -> Result<Option<RefreshToken>, DatabaseError> {
    let row = refresh_tokens::table
        .filter(refresh_tokens::token_hash.eq(token_hash.as_slice()))
        .select(RefreshTokenRow::as_select())
        .first(connection)
        .await
        .optional()?;
    Ok(row.map(RefreshToken::from))
}

/// Stores a token.
pub(crate) async fn create(tx: &mut Connection, token: &NewRefreshToken) -> Result<(), DatabaseError> {
    diesel::insert_into(refresh_tokens::table)
        .values(RefreshTokenRow::from(token))
        .execute(tx)
        .await?;
    Ok(())
}

/// Marks a token as exchanged, if it was neither exchanged nor revoked. Tells whether it did.
pub(super) async fn mark_used(
    tx: &mut Connection,
    token_hash: &[u8; 32],
    now: DateTime<Utc>,
) -> Result<bool, DatabaseError> {
    let exchangeable = refresh_tokens::table
        .filter(refresh_tokens::token_hash.eq(token_hash.as_slice()))
        .filter(refresh_tokens::used_at.is_null())
        .filter(refresh_tokens::revoked_at.is_null());
    let updated = diesel::update(exchangeable)
        .set(refresh_tokens::used_at.eq(Some(StoredTime(now))))
        .kept()
        .execute(tx)
        .await?;
    Ok(updated == 1)
}

/// Tells whether a used token was presented while its exchange could be repeated, and was overtaken on its way here by
/// the exchange of its successor: by a caller that gave up waiting and tried again. Nobody else has it, then.
pub(super) async fn was_overtaken(
    tx: &mut Connection,
    rotation: &Rotation,
) -> Result<bool, DatabaseError> {
    let used_at = exchange_of(tx, rotation.session_id, rotation.generation).await?;
    let next = rotation.generation.saturating_add(1);
    let next_used_at = exchange_of(tx, rotation.session_id, next).await?;
    Ok(used_at.zip(next_used_at).is_some_and(|(used_at, next_used_at)| {
        rotation.now < next_used_at && rotation.now - used_at <= Session::REPEAT_WINDOW
    }))
}

/// Returns when the token of a generation was exchanged, if it was.
async fn exchange_of(
    tx: &mut Connection,
    session_id: SessionId,
    generation: i64,
) -> Result<Option<DateTime<Utc>>, DatabaseError> {
    let used_at: Option<Option<StoredTime>> = refresh_tokens::table
        .filter(refresh_tokens::session_id.eq(StoredUuid::from(session_id)))
        .filter(refresh_tokens::generation.eq(generation))
        .select(refresh_tokens::used_at)
        .first(tx)
        .await
        .optional()?;
    Ok(used_at.flatten().map(|time| time.0))
}

/// Revokes the live tokens of sessions that this transaction has locked, which are known by their generations.
pub(super) async fn revoke_of_sessions(
    tx: &mut Connection,
    mut sessions: Vec<(StoredUuid, i64)>,
    now: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    sessions.sort_unstable_by_key(|(_, generation)| *generation);
    for same in sessions.chunk_by(|(_, one), (_, other)| one == other) {
        let [(_, generation), ..] = same else { continue };
        let ids = same.iter().map(|(id, _)| *id);
        let live = refresh_tokens::table
            .filter(refresh_tokens::session_id.eq_any(ids))
            .filter(refresh_tokens::generation.eq(*generation))
            .filter(refresh_tokens::used_at.is_null())
            .filter(refresh_tokens::revoked_at.is_null());
        diesel::update(live)
            .set(refresh_tokens::revoked_at.eq(Some(StoredTime(now))))
            .execute(tx)
            .await?;
    }
    Ok(())
}

/// Revokes the live tokens of a user.
pub(super) async fn revoke_of_user(tx: &mut Connection, end: &EndSessions) -> Result<(), DatabaseError> {
    let kept = end.except.map_or(StoredUuid(uuid::Uuid::nil()), StoredUuid::from);
    let of_user = sessions::table
        .filter(sessions::user_id.eq(StoredUuid::from(end.user_id)))
        .filter(sessions::id.ne(kept))
        .select(sessions::id);
    let live = refresh_tokens::table
        .filter(refresh_tokens::session_id.eq_any(of_user))
        .filter(refresh_tokens::used_at.is_null())
        .filter(refresh_tokens::revoked_at.is_null());
    diesel::update(live)
        .set(refresh_tokens::revoked_at.eq(Some(StoredTime(end.now))))
        .kept()
        .execute(tx)
        .await?;
    Ok(())
}

/// Deletes tokens that expired before a time, at most `batch` of them, and returns how many.
///
/// That a used token is presented again is recognised without its row: the token itself says which one it is.
pub(crate) async fn delete_expired(
    tx: &mut Connection,
    (now, older_than, batch): &(DateTime<Utc>, TimeDelta, i64),
) -> Result<usize, DatabaseError> {
    let expired: Vec<StoredUuid> = refresh_tokens::table
        .filter(refresh_tokens::expires_at.lt(StoredTime(*now - *older_than)))
        .select(refresh_tokens::id)
        .order(refresh_tokens::expires_at)
        .limit(*batch)
        .load(tx)
        .await?;
    Ok(
        diesel::delete(refresh_tokens::table.filter(refresh_tokens::id.eq_any(expired)))
            .execute(tx)
            .await?,
    )
}
