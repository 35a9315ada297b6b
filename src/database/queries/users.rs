//! Queries of `users`.

use chrono::{DateTime, Utc};
use diesel::prelude::{
    BoolExpressionMethods, ExpressionMethods, OptionalExtension, QueryDsl, SelectableHelper,
};
use diesel_async::RunQueryDsl;

use super::request_ids::{self, Claim};
use super::{
    Backend, Connection, email_has_prefix, lock_user, lock_user_to_delete, login_attempts,
    oauth_accounts, sessions, user_events,
};
use crate::database::DatabaseError;
use crate::database::kept::Keep;
use crate::database::rows::UserRow;
use crate::database::schema::users;
use crate::database::sql_types::{StoredTime, StoredUuid};
use crate::domain::{
    Command, DeleteUser, EndSessions, ImportedPasswordHash, ListUsers, ListUsersById, NewUser,
    NewUserEvent, Origin, PasswordHash, Refusal, UpdateUser, User, UserChange, UserEventType, UserId,
    UserOrder,
};

/// Returns the user with an id.
pub(crate) async fn get_by_id(
    connection: &mut Connection,
    id: &UserId,
) -> Result<Option<User>, DatabaseError> {
    let row = users::table
        .find(StoredUuid::from(*id))
        .select(UserRow::as_select())
        .first(connection)
        .await
        .optional()?;
    Ok(row.map(User::from))
}

/// Returns the user with a normalised email.
pub(crate) async fn get_by_email(
    connection: &mut Connection,
    normalized: &String,
) -> Result<Option<User>, DatabaseError> {
    let row = users::table
        .filter(users::email_normalized.eq(normalized))
        .select(UserRow::as_select())
        .first(connection)
        .await
        .optional()?;
    Ok(row.map(User::from))
}

/// Returns those of the users that exist, in no order.
#[expect(
    clippy::ptr_arg,
    reason = "a query takes its arguments as its caller keeps them"
)]
pub(crate) async fn get_by_ids(
    connection: &mut Connection,
    ids: &Vec<UserId>,
) -> Result<Vec<User>, DatabaseError> {
    let uuids: Vec<StoredUuid> = ids.iter().copied().map(StoredUuid::from).collect();
    let rows: Vec<UserRow> = users::table
        .filter(users::id.eq_any(uuids))
        .select(UserRow::as_select())
        .load(connection)
        .await?;
    Ok(rows.into_iter().map(User::from).collect())
}

/// Returns the users that match a filter, after a position in the order.
pub(crate) async fn list(
    connection: &mut Connection,
    list: &ListUsers,
) -> Result<Vec<User>, DatabaseError> {
    let filter = &list.filter;
    let mut query = users::table.select(UserRow::as_select()).into_boxed::<Backend>();
    if let Some(from) = filter.created_from {
        query = query.filter(users::created_at.ge(StoredTime(from)));
    }
    if let Some(before) = filter.created_before {
        query = query.filter(users::created_at.lt(StoredTime(before)));
    }
    if let Some(is_active) = filter.is_active {
        query = query.filter(users::is_active.eq(is_active));
    }
    // Not as a parameter: only then do both databases see that the index of the blocked users fits.
    query = match filter.is_blocked {
        Some(true) => query.filter(users::is_blocked),
        Some(false) => query.filter(diesel::dsl::not(users::is_blocked)),
        None => query,
    };
    if let Some(prefix) = &filter.email_prefix {
        query = query.filter(email_has_prefix(prefix));
    }
    // The first condition alone already bounds the index; the second breaks ties.
    query = match (list.order, list.after.as_ref()) {
        (UserOrder::CreatedAt, Some(after)) => query.filter(
            users::created_at.ge(StoredTime(after.created_at)).and(
                users::created_at
                    .gt(StoredTime(after.created_at))
                    .or(users::id.gt(StoredUuid(after.id))),
            ),
        ),
        (UserOrder::CreatedAtDescending, Some(after)) => query.filter(
            users::created_at.le(StoredTime(after.created_at)).and(
                users::created_at
                    .lt(StoredTime(after.created_at))
                    .or(users::id.lt(StoredUuid(after.id))),
            ),
        ),
        (UserOrder::CreatedAt | UserOrder::CreatedAtDescending, None) => query,
    };
    query = match list.order {
        UserOrder::CreatedAt => query.order((users::created_at.asc(), users::id.asc())),
        UserOrder::CreatedAtDescending => query.order((users::created_at.desc(), users::id.desc())),
    };
    let rows: Vec<UserRow> = query.limit(list.limit).load(connection).await?;
    Ok(rows.into_iter().map(User::from).collect())
}

/// Returns users in the order of their ids, after one of them.
pub(crate) async fn list_by_id(
    connection: &mut Connection,
    list: &ListUsersById,
) -> Result<Vec<User>, DatabaseError> {
    let mut query = users::table.select(UserRow::as_select()).into_boxed::<Backend>();
    if let Some(after) = list.after {
        query = query.filter(users::id.gt(StoredUuid::from(after)));
    }
    let rows: Vec<UserRow> = query.order(users::id).limit(list.limit).load(connection).await?;
    Ok(rows.into_iter().map(User::from).collect())
}

/// Creates a user, or returns the one that an earlier attempt at the same request created.
pub(crate) async fn create(
    tx: &mut Connection,
    command: &Command<NewUser>,
) -> Result<User, DatabaseError> {
    let Command {
        value,
        request,
        origin,
    } = command;
    if let Claim::Done(id) = request_ids::claim(tx, request.as_ref(), value.id).await? {
        return present(tx, id).await;
    }
    insert(tx, value, origin).await
}

/// Writes a new user.
pub(super) async fn insert(
    tx: &mut Connection,
    user: &NewUser,
    origin: &Origin,
) -> Result<User, DatabaseError> {
    insert_user(tx, user.clone().into_user(), origin).await
}

/// Writes a user who has not been there before.
pub(super) async fn insert_user(
    tx: &mut Connection,
    created: User,
    origin: &Origin,
) -> Result<User, DatabaseError> {
    diesel::insert_into(users::table)
        .values(UserRow::from(&created))
        .execute(tx)
        .await?;
    let event_type = UserEventType::UserCreated;
    let event = NewUserEvent::new(created.id, event_type, origin, created.created_at);
    user_events::record(tx, &event).await?;
    Ok(created)
}

/// Changes a user, and returns it as it is afterwards.
pub(crate) async fn change(
    tx: &mut Connection,
    command: &Command<UpdateUser>,
) -> Result<User, DatabaseError> {
    let Command {
        value,
        request,
        origin,
    } = command;
    let UpdateUser {
        id,
        change,
        etag,
        now,
    } = value;
    if let Claim::Done(id) = request_ids::claim(tx, request.as_ref(), *id).await? {
        return present(tx, id).await;
    }
    let user = lock_user(tx, *id).await?.ok_or(Refusal::UserNotFound(*id))?;
    if etag.as_ref().is_some_and(|etag| *etag != user.etag()) {
        return Err(Refusal::EtagMismatch(*id).into());
    }
    if matches!(change, UserChange::RemovePassword { .. }) {
        let instead = oauth_accounts::oldest_kind(tx, *id).await?;
        return apply(tx, user, &UserChange::RemovePassword { instead }, *now, origin).await;
    }
    apply(tx, user, change, *now, origin).await
}

/// Changes a user that this transaction has locked, and ends its sessions if the change does. They end also if the user
/// is like that already: whoever was blocked by hand, in SQL, still has sessions.
pub(super) async fn apply(
    tx: &mut Connection,
    user: User,
    change: &UserChange,
    now: DateTime<Utc>,
    origin: &Origin,
) -> Result<User, DatabaseError> {
    let changed = user.after(change, now)?;
    if let Some(changed) = &changed {
        diesel::update(users::table.find(StoredUuid::from(changed.id)))
            .set(UserRow::from(changed))
            .kept()
            .execute(tx)
            .await?;
    }
    let mut ended_sessions = 0;
    if let Some(reason) = change.ends_sessions() {
        let end = EndSessions {
            user_id: user.id,
            reason,
            except: change.kept_session(),
            now,
        };
        ended_sessions = sessions::end_all(tx, &end).await?.all;
    }
    let event = match &changed {
        Some(changed) => Some(NewUserEvent {
            changed_fields: changed.fields_changed_by(change, &user),
            ..NewUserEvent::new(user.id, change.event_type(), origin, changed.updated_at)
        }),
        // The sessions were all there was to change.
        None if ended_sessions > 0 => {
            let occurred_at = user.next_change_at(now);
            let event_type = UserEventType::SessionsRevoked;
            Some(NewUserEvent::new(user.id, event_type, origin, occurred_at))
        }
        None => None,
    };
    if let Some(event) = event {
        user_events::record(tx, &event).await?;
    }
    Ok(changed.unwrap_or(user))
}

/// Replaces the hash of a password by another one of the same password, unless the password was changed
/// meanwhile. Tells whether it did.
pub(crate) async fn rehash(
    tx: &mut Connection,
    (id, old, new): &(UserId, PasswordHash, PasswordHash),
) -> Result<bool, DatabaseError> {
    let updated = diesel::update(users::table.find(StoredUuid::from(*id)))
        .filter(users::password_hash.eq(old.reveal()))
        .set(users::password_hash.eq(new.reveal()))
        .kept()
        .execute(tx)
        .await?;
    Ok(updated == 1)
}

/// Replaces the hash of a password that another system has computed by one of the same password, unless the password was
/// changed meanwhile. Tells whether it did.
pub(crate) async fn adopt_password(
    tx: &mut Connection,
    (id, imported, new): &(UserId, ImportedPasswordHash, PasswordHash),
) -> Result<bool, DatabaseError> {
    let Some(mut user) = lock_user(tx, *id).await? else {
        return Ok(false);
    };
    if user.imported_password.as_ref() != Some(imported) {
        return Ok(false);
    }
    user.adopt_password(new.clone());
    diesel::update(users::table.find(StoredUuid::from(*id)))
        .set(UserRow::from(&user))
        .kept()
        .execute(tx)
        .await?;
    Ok(true)
}

/// Deletes a user and all that belongs to it. Its events stay: they do not tell who it was.
pub(crate) async fn delete(
    tx: &mut Connection,
    command: &Command<DeleteUser>,
) -> Result<(), DatabaseError> {
    let Command {
        value,
        request,
        origin,
    } = command;
    let DeleteUser { id, etag, now } = value;
    if let Claim::Done(_) = request_ids::claim(tx, request.as_ref(), *id).await? {
        return Ok(());
    }
    let user = lock_user_to_delete(tx, *id)
        .await?
        .ok_or(Refusal::UserNotFound(*id))?;
    if etag.as_ref().is_some_and(|etag| *etag != user.etag()) {
        return Err(Refusal::EtagMismatch(*id).into());
    }
    login_attempts::forget_user(tx, *id).await?;
    diesel::delete(users::table.find(StoredUuid::from(*id)))
        .execute(tx)
        .await?;
    let occurred_at = user.next_change_at(*now);
    let event = NewUserEvent::new(*id, UserEventType::UserDeleted, origin, occurred_at);
    user_events::record(tx, &event).await
}

/// Returns the user that a request was about, as it is now.
pub(super) async fn present(tx: &mut Connection, id: UserId) -> Result<User, DatabaseError> {
    let user = get_by_id(tx, &id).await?;
    Ok(user.ok_or(Refusal::UserNotFound(id))?)
}
