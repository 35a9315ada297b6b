//! Queries of `login_attempts`.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::{BoolExpressionMethods, ExpressionMethods, QueryDsl, SelectableHelper};
use diesel_async::RunQueryDsl;

use super::{Backend, Connection, keep_user};
use crate::database::DatabaseError;
use crate::database::kept::Keep;
use crate::database::rows::LoginAttemptRow;
use crate::database::schema::login_attempts;
use crate::database::sql_types::{StoredIp, StoredTime, StoredUuid};
use crate::domain::{
    Client, ListLoginAttempts, LoginAttempt, LoginFailure, NewLoginAttempt, User, UserId,
};

/// Records an attempt. If the user it was made as has been deleted meanwhile, it is kept as if that had come afterwards:
/// without what tells who the user was.
pub(crate) async fn create(tx: &mut Connection, attempt: &NewLoginAttempt) -> Result<(), DatabaseError> {
    let is_user_gone = match attempt.user_id {
        Some(user_id) => keep_user(tx, user_id).await?.is_none(),
        None => false,
    };
    if !is_user_gone {
        return insert(tx, attempt).await;
    }
    let forgotten = NewLoginAttempt {
        user_id: None,
        identifier: None,
        client: Client {
            ip_address: None,
            user_agent: None,
            client_id: attempt.client.client_id.clone(),
        },
        ..attempt.clone()
    };
    insert(tx, &forgotten).await
}

/// Records an attempt as a user, if any, that this transaction has locked.
pub(super) async fn insert(tx: &mut Connection, attempt: &NewLoginAttempt) -> Result<(), DatabaseError> {
    diesel::insert_into(login_attempts::table)
        .values(LoginAttemptRow::from(attempt))
        .execute(tx)
        .await?;
    Ok(())
}

/// Records that a user that this transaction has locked was kept out, although the credential was right.
pub(super) async fn insert_kept_out(
    tx: &mut Connection,
    attempt: &NewLoginAttempt,
    user: &User,
) -> Result<(), DatabaseError> {
    let failure = if user.is_blocked {
        LoginFailure::UserBlocked
    } else {
        LoginFailure::UserInactive
    };
    let failed = NewLoginAttempt {
        user_id: Some(user.id),
        failure: Some(failure),
        ..attempt.clone()
    };
    insert(tx, &failed).await
}

/// Counts the failures of a user at a time or later.
pub(crate) async fn count_failures(
    connection: &mut Connection,
    (user_id, from): &(UserId, DateTime<Utc>),
) -> Result<i64, DatabaseError> {
    Ok(login_attempts::table
        .filter(login_attempts::user_id.eq(StoredUuid::from(*user_id)))
        .filter(login_attempts::attempted_at.ge(StoredTime(*from)))
        .filter(login_attempts::success.eq(false))
        .count()
        .get_result(connection)
        .await?)
}

/// Returns the attempts that match a filter, the newest first, after a position.
pub(crate) async fn list(
    connection: &mut Connection,
    list: &ListLoginAttempts,
) -> Result<Vec<LoginAttempt>, DatabaseError> {
    let filter = &list.filter;
    let mut query = login_attempts::table
        .select(LoginAttemptRow::as_select())
        .into_boxed::<Backend>();
    if let Some(user_id) = filter.user_id {
        query = query.filter(login_attempts::user_id.eq(StoredUuid::from(user_id)));
    }
    if let Some(identifier) = &filter.identifier {
        query = query.filter(login_attempts::identifier.eq(identifier));
    }
    if let Some(success) = filter.success {
        query = query.filter(login_attempts::success.eq(success));
    }
    if let Some(from) = filter.attempted_from {
        query = query.filter(login_attempts::attempted_at.ge(StoredTime(from)));
    }
    if let Some(before) = filter.attempted_before {
        query = query.filter(login_attempts::attempted_at.lt(StoredTime(before)));
    }
    if let Some(after) = &list.after {
        query = query.filter(
            login_attempts::attempted_at.le(StoredTime(after.created_at)).and(
                login_attempts::attempted_at
                    .lt(StoredTime(after.created_at))
                    .or(login_attempts::id.lt(StoredUuid(after.id))),
            ),
        );
    }
    let rows: Vec<LoginAttemptRow> = query
        .order((login_attempts::attempted_at.desc(), login_attempts::id.desc()))
        .limit(list.limit)
        .load(connection)
        .await?;
    Ok(rows.into_iter().map(LoginAttempt::from).collect())
}

/// Removes what tells who a user is from the attempts to sign in as that user.
pub(super) async fn forget_user(tx: &mut Connection, user_id: UserId) -> Result<(), DatabaseError> {
    let of_user = login_attempts::table.filter(login_attempts::user_id.eq(StoredUuid::from(user_id)));
    diesel::update(of_user)
        .set((
            login_attempts::identifier.eq(None::<String>),
            login_attempts::ip_address.eq(None::<StoredIp>),
            login_attempts::user_agent.eq(None::<String>),
        ))
        .kept()
        .execute(tx)
        .await?;
    Ok(())
}

/// Deletes attempts that are older than a time span, at most `batch` of them, and returns how many.
pub(crate) async fn delete_old(
    tx: &mut Connection,
    (now, older_than, batch): &(DateTime<Utc>, TimeDelta, i64),
) -> Result<usize, DatabaseError> {
    let old: Vec<StoredUuid> = login_attempts::table
        .filter(login_attempts::attempted_at.lt(StoredTime(*now - *older_than)))
        .select(login_attempts::id)
        .order(login_attempts::attempted_at)
        .limit(*batch)
        .load(tx)
        .await?;
    Ok(
        diesel::delete(login_attempts::table.filter(login_attempts::id.eq_any(old)))
            .execute(tx)
            .await?,
    )
}
