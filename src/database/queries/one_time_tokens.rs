//! Queries of `one_time_tokens`.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::{ExpressionMethods, OptionalExtension, QueryDsl};
use diesel_async::RunQueryDsl;

use super::request_ids::{self, Claim};
use super::{Connection, lock_user, users};
use crate::database::DatabaseError;
use crate::database::kept::Keep;
use crate::database::schema::one_time_tokens;
use crate::database::sql_types::{StoredName, StoredTime, StoredUuid};
use crate::domain::{
    Command, ConfirmOneTimeToken, NewOneTimeToken, OneTimeTokenPurpose, Refusal, User, UserId, new_uuid,
};

/// Stores a token in place of the user's earlier ones for the same purpose, and returns the user.
pub(crate) async fn create(tx: &mut Connection, token: &NewOneTimeToken) -> Result<User, DatabaseError> {
    let user = lock_user(tx, token.user_id)
        .await?
        .ok_or(Refusal::UserNotFound(token.user_id))?;
    if token.purpose.needs_email() && user.profile.email.is_none() {
        return Err(Refusal::EmailRequired(user.id).into());
    }
    let earlier = one_time_tokens::table
        .filter(one_time_tokens::user_id.eq(StoredUuid::from(user.id)))
        .filter(one_time_tokens::purpose.eq(StoredName(token.purpose)))
        .filter(one_time_tokens::used_at.is_null());
    diesel::delete(earlier).execute(tx).await?;
    let email = user
        .profile
        .email
        .as_ref()
        .map(|email| email.normalized().to_owned());
    diesel::insert_into(one_time_tokens::table)
        .values((
            one_time_tokens::id.eq(StoredUuid(new_uuid(token.created_at))),
            one_time_tokens::user_id.eq(StoredUuid::from(user.id)),
            one_time_tokens::purpose.eq(StoredName(token.purpose)),
            one_time_tokens::token_hash.eq(token.token_hash.as_slice()),
            one_time_tokens::email_normalized.eq(email),
            one_time_tokens::expires_at.eq(StoredTime(token.expires_at)),
            one_time_tokens::created_at.eq(StoredTime(token.created_at)),
        ))
        .execute(tx)
        .await?;
    Ok(user)
}

/// Returns whom a token is for, or why it cannot be used.
pub(crate) async fn find_user(
    connection: &mut Connection,
    (purpose, token_hash, now): &(OneTimeTokenPurpose, [u8; 32], DateTime<Utc>),
) -> Result<User, DatabaseError> {
    let row: Option<(StoredUuid, Option<String>, StoredTime, Option<StoredTime>)> =
        one_time_tokens::table
            .filter(one_time_tokens::token_hash.eq(token_hash.as_slice()))
            .filter(one_time_tokens::purpose.eq(StoredName(*purpose)))
            .select((
                one_time_tokens::user_id,
                one_time_tokens::email_normalized,
                one_time_tokens::expires_at,
                one_time_tokens::used_at,
            ))
            .first(connection)
            .await
            .optional()?;
    let (user_id, email, expires_at, used_at) = row.ok_or(Refusal::TokenInvalid)?;
    if used_at.is_some() {
        return Err(Refusal::TokenReused.into());
    }
    if *now >= expires_at.0 {
        return Err(Refusal::TokenExpired.into());
    }
    let user = users::get_by_id(connection, &UserId::from_stored(user_id.0))
        .await?
        .ok_or(Refusal::TokenInvalid)?;
    if !purpose.still_fits(email.as_deref(), user.profile.email.as_ref()) {
        return Err(Refusal::TokenInvalid.into());
    }
    Ok(user)
}

/// Uses a token, and changes the user as it allows.
pub(crate) async fn confirm(
    tx: &mut Connection,
    command: &Command<ConfirmOneTimeToken>,
) -> Result<User, DatabaseError> {
    let Command {
        value,
        request,
        origin,
    } = command;
    if let Claim::Done(id) = request_ids::claim(tx, request.as_ref(), value.user_id).await? {
        return users::present(tx, id).await;
    }
    // The user first, as everything else that locks both.
    lock_user(tx, value.user_id).await?.ok_or(Refusal::TokenInvalid)?;
    let user = find_user(tx, &(value.purpose, value.token_hash, value.now)).await?;
    let unused = one_time_tokens::table
        .filter(one_time_tokens::token_hash.eq(value.token_hash.as_slice()))
        .filter(one_time_tokens::used_at.is_null());
    let used = diesel::update(unused)
        .set(one_time_tokens::used_at.eq(Some(StoredTime(value.now))))
        .kept()
        .execute(tx)
        .await?;
    if used != 1 {
        return Err(Refusal::TokenReused.into());
    }
    users::apply(tx, user, &value.change, value.now, origin).await
}

/// Deletes tokens that expired a while ago, at most `batch` of them, and returns how many.
pub(crate) async fn purge(
    tx: &mut Connection,
    (now, batch): &(DateTime<Utc>, i64),
) -> Result<usize, DatabaseError> {
    /// How long it can still be told why a token does not work.
    const KEPT: TimeDelta = TimeDelta::days(7);
    let expired: Vec<StoredUuid> = one_time_tokens::table
        .filter(one_time_tokens::expires_at.lt(StoredTime(*now - KEPT)))
        .select(one_time_tokens::id)
        .order(one_time_tokens::expires_at)
        .limit(*batch)
        .load(tx)
        .await?;
    Ok(
        diesel::delete(one_time_tokens::table.filter(one_time_tokens::id.eq_any(expired)))
            .execute(tx)
            .await?,
    )
}
