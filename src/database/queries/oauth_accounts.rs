//! Queries of `oauth_accounts`, and signing in with one.
//!
//! Whatever changes the accounts of a user has locked the user before, so that the last way to sign in stays also when
//! several are taken away at once.

use chrono::{DateTime, Utc};
use diesel::prelude::{
    BoolExpressionMethods, ExpressionMethods, OptionalExtension, QueryDsl, SelectableHelper,
};
use diesel_async::RunQueryDsl;

use super::request_ids::{self, Claim};
use super::{Backend, Connection, lock_user, login_attempts, sessions, user_events, users};
use crate::database::DatabaseError;
use crate::database::kept::Keep;
use crate::database::rows::{OAuthAccountRow, UserRow};
use crate::database::schema::{oauth_accounts, users as users_table};
use crate::database::sql_types::{StoredTime, StoredUuid};
use crate::domain::{
    AccountKey, AuthProvider, Command, ExternalIdentity, IdTokenDecision, IdTokenSignIn,
    LinkOAuthAccount, ListOAuthAccounts, NewLinkedUser, NewLoginAttempt, NewRefreshToken, NewUserEvent,
    OAuthAccount, OAuthAccountId, Origin, Refusal, Session, Stranger, UnlinkOAuthAccount, User,
    UserChange, UserEventType, UserId,
};

/// Returns the user that an account is linked with.
pub(crate) async fn get_user(
    connection: &mut Connection,
    key: &AccountKey,
) -> Result<Option<User>, DatabaseError> {
    let row = oauth_accounts::table
        .inner_join(users_table::table)
        .filter(oauth_accounts::issuer.eq(&key.issuer))
        .filter(oauth_accounts::subject.eq(key.subject.as_str()))
        .select(UserRow::as_select())
        .first(connection)
        .await
        .optional()?;
    Ok(row.map(User::from))
}

/// Returns an account.
pub(crate) async fn get(
    connection: &mut Connection,
    key: &AccountKey,
) -> Result<Option<OAuthAccount>, DatabaseError> {
    let row = oauth_accounts::table
        .filter(oauth_accounts::issuer.eq(&key.issuer))
        .filter(oauth_accounts::subject.eq(key.subject.as_str()))
        .select(OAuthAccountRow::as_select())
        .first(connection)
        .await
        .optional()?;
    Ok(row.map(OAuthAccount::from))
}

/// Returns the accounts of a user, the oldest first, after a position.
pub(crate) async fn list(
    connection: &mut Connection,
    list: &ListOAuthAccounts,
) -> Result<Vec<OAuthAccount>, DatabaseError> {
    let mut query = oauth_accounts::table
        .filter(oauth_accounts::user_id.eq(StoredUuid::from(list.user_id)))
        .select(OAuthAccountRow::as_select())
        .into_boxed::<Backend>();
    if let Some(after) = &list.after {
        query = query.filter(
            oauth_accounts::created_at.ge(StoredTime(after.created_at)).and(
                oauth_accounts::created_at
                    .gt(StoredTime(after.created_at))
                    .or(oauth_accounts::id.gt(StoredUuid(after.id))),
            ),
        );
    }
    let rows: Vec<OAuthAccountRow> = query
        .order((oauth_accounts::created_at.asc(), oauth_accounts::id.asc()))
        .limit(list.limit)
        .load(connection)
        .await?;
    Ok(rows.into_iter().map(OAuthAccount::from).collect())
}

/// Returns what the oldest account of a user is.
pub(super) async fn oldest_kind(
    tx: &mut Connection,
    user_id: UserId,
) -> Result<Option<AuthProvider>, DatabaseError> {
    let oldest = ListOAuthAccounts {
        user_id,
        after: None,
        limit: 1,
    };
    let found = list(tx, &oldest).await?;
    Ok(found.into_iter().next().map(|account| account.provider.kind()))
}

/// Writes an account, unless it is somebody's. Of several transactions that write the same one, one does, and the others
/// wait for that one to end. Tells whether it did.
async fn insert(tx: &mut Connection, account: &OAuthAccount) -> Result<bool, DatabaseError> {
    let written = diesel::insert_into(oauth_accounts::table)
        .values(OAuthAccountRow::from(account))
        .on_conflict((oauth_accounts::issuer, oauth_accounts::subject))
        .do_nothing()
        .execute(tx)
        .await?;
    Ok(written == 1)
}

/// Creates a user with a linked account, once per request id.
pub(crate) async fn create_user(
    tx: &mut Connection,
    command: &Command<NewLinkedUser>,
) -> Result<User, DatabaseError> {
    let Command {
        value,
        request,
        origin,
    } = command;
    if let Claim::Done(id) = request_ids::claim(tx, request.as_ref(), value.user.id).await? {
        return users::present(tx, id).await;
    }
    insert_user(tx, value, origin)
        .await?
        .ok_or_else(|| Refusal::IdentityTaken.into())
}

/// Writes a user with a linked account, unless the account is somebody's.
async fn insert_user(
    tx: &mut Connection,
    new: &NewLinkedUser,
    origin: &Origin,
) -> Result<Option<User>, DatabaseError> {
    let mut user = new.user.clone().into_user();
    user.email_verified_at = new.email_verified_at;
    user.auth_provider = user.auth_provider.or(Some(new.identity.provider.kind()));
    let now = user.created_at;
    // The account comes first: nothing else has been written when it turns out to be somebody's.
    let account = new.identity.clone().into_account(user.id, now);
    if !insert(tx, &account).await? {
        return Ok(None);
    }
    let created = users::insert_user(tx, user, origin).await?;
    let event = NewUserEvent::new(created.id, UserEventType::OAuthAccountLinked, origin, now);
    user_events::record(tx, &event).await?;
    Ok(Some(created))
}

/// Links an account with a user, or returns it as it is if it is linked with that user.
pub(crate) async fn link(
    tx: &mut Connection,
    command: &Command<LinkOAuthAccount>,
) -> Result<(OAuthAccount, User), DatabaseError> {
    let Command {
        value,
        request,
        origin,
    } = command;
    let LinkOAuthAccount {
        user_id,
        identity,
        etag,
        now,
    } = value;
    let claim = request_ids::claim(tx, request.as_ref(), *user_id).await?;
    let user = lock_user(tx, *user_id)
        .await?
        .ok_or(Refusal::UserNotFound(*user_id))?;
    let is_repeated = matches!(claim, Claim::Done(_));
    if !is_repeated && etag.as_ref().is_some_and(|etag| *etag != user.etag()) {
        return Err(Refusal::EtagMismatch(*user_id).into());
    }
    let account = identity.clone().into_account(*user_id, *now);
    // What was linked by the request before, and unlinked since, is not linked again.
    if !is_repeated && insert(tx, &account).await? {
        let change = UserChange::LinkOAuthAccount(account.provider.kind());
        let changed = users::apply(tx, user, &change, *now, origin).await?;
        return Ok((account, changed));
    }
    match get(tx, &identity.key).await? {
        Some(linked) if linked.user_id == *user_id => Ok((linked, user)),
        Some(_) => Err(Refusal::IdentityTaken.into()),
        None if is_repeated => Err(Refusal::OAuthAccountNotFound(account.id).into()),
        None => Err(gone_meanwhile()),
    }
}

/// Unlinks an account, unless it is the last way to sign in. Returns the user as it is afterwards.
pub(crate) async fn unlink(
    tx: &mut Connection,
    command: &Command<UnlinkOAuthAccount>,
) -> Result<User, DatabaseError> {
    let Command {
        value,
        request,
        origin,
    } = command;
    let UnlinkOAuthAccount {
        user_id,
        account_id,
        etag,
        now,
    } = value;
    if let Claim::Done(id) = request_ids::claim(tx, request.as_ref(), *user_id).await? {
        return users::present(tx, id).await;
    }
    let user = lock_user(tx, *user_id)
        .await?
        .ok_or(Refusal::UserNotFound(*user_id))?;
    if etag.as_ref().is_some_and(|etag| *etag != user.etag()) {
        return Err(Refusal::EtagMismatch(*user_id).into());
    }
    let found = of_user(tx, *user_id, *account_id).await?;
    if !found {
        return Err(Refusal::OAuthAccountNotFound(*account_id).into());
    }
    let instead = oldest_kind_without(tx, *user_id, *account_id).await?;
    let change = UserChange::UnlinkOAuthAccount { instead };
    // Before the account goes, so that the database never sees a user that has nothing left.
    let changed = users::apply(tx, user, &change, *now, origin).await?;
    diesel::delete(oauth_accounts::table.find(StoredUuid::from(*account_id)))
        .execute(tx)
        .await?;
    Ok(changed)
}

/// Tells whether an account is that of a user.
async fn of_user(
    tx: &mut Connection,
    user_id: UserId,
    account_id: OAuthAccountId,
) -> Result<bool, DatabaseError> {
    let owner: Option<StoredUuid> = oauth_accounts::table
        .find(StoredUuid::from(account_id))
        .select(oauth_accounts::user_id)
        .first(tx)
        .await
        .optional()?;
    Ok(owner == Some(StoredUuid::from(user_id)))
}

/// Returns what the oldest account of a user is but for one.
async fn oldest_kind_without(
    tx: &mut Connection,
    user_id: UserId,
    account_id: OAuthAccountId,
) -> Result<Option<AuthProvider>, DatabaseError> {
    let two_oldest = ListOAuthAccounts {
        user_id,
        after: None,
        limit: 2,
    };
    let found = list(tx, &two_oldest).await?;
    let other = found.into_iter().find(|account| account.id != account_id);
    Ok(other.map(|account| account.provider.kind()))
}

/// Signs in whoever an ID token is about: the user of the account, the user with the same address if that is surely the
/// same person, or a new one.
pub(crate) async fn sign_in(
    tx: &mut Connection,
    command: &Command<IdTokenSignIn>,
) -> Result<IdTokenDecision, DatabaseError> {
    let Command {
        value,
        origin,
        request: _,
    } = command;
    if let Some(account) = get(tx, &value.identity.key).await? {
        // Unlinked, or deleted with its user, since it was read: decided anew.
        let user = lock_user(tx, account.user_id).await?.ok_or_else(gone_meanwhile)?;
        if get(tx, &value.identity.key).await?.map(|now| now.user_id) != Some(user.id) {
            return Err(gone_meanwhile());
        }
        return enter(tx, user, value).await;
    }
    let namesake = match &value.identity.email {
        Some(claimed) => users::get_by_email(tx, &claimed.email.normalized().to_owned()).await?,
        None => None,
    };
    if let Some(found) = namesake {
        let user = lock_user(tx, found.id).await?.ok_or_else(gone_meanwhile)?;
        // A first sign-in at the same moment has begun both between the two looks.
        if get(tx, &value.identity.key).await?.is_some() {
            return Err(gone_meanwhile());
        }
        return join(tx, user, value, origin).await;
    }
    match &value.stranger {
        Stranger::Created(new) => {
            let created = match insert_user(tx, new, origin).await {
                // Somebody got the address since it was looked for, and that user is decided about anew.
                Err(DatabaseError::Refused(Refusal::EmailTaken)) => return Err(gone_meanwhile()),
                outcome => outcome?.ok_or_else(gone_meanwhile)?,
            };
            begin(tx, &created, value).await?;
            note_sign_in(tx, &value.identity, value.now).await?;
            Ok(IdTokenDecision::SignedIn {
                user: Box::new(created),
                is_new: true,
            })
        }
        Stranger::Incomplete => Ok(IdTokenDecision::Incomplete),
        Stranger::Refused => Ok(IdTokenDecision::Refused(Refusal::SignUpDisabled)),
    }
}

/// Links the account with a user that has the same address and is locked, if that is surely the same person, and signs
/// the user in.
async fn join(
    tx: &mut Connection,
    user: User,
    sign_in: &IdTokenSignIn,
    origin: &Origin,
) -> Result<IdTokenDecision, DatabaseError> {
    if !sign_in.identity.is_surely(&user) {
        return Ok(IdTokenDecision::Refused(Refusal::LinkRequired));
    }
    if user.check_state().is_err() {
        return enter(tx, user, sign_in).await;
    }
    let account = sign_in.identity.clone().into_account(user.id, sign_in.now);
    if !insert(tx, &account).await? {
        return Err(gone_meanwhile());
    }
    let change = UserChange::LinkOAuthAccount(account.provider.kind());
    let joined = users::apply(tx, user, &change, sign_in.now, origin).await?;
    enter(tx, joined, sign_in).await
}

/// Begins the session of a user that is locked, unless the user is kept out.
async fn enter(
    tx: &mut Connection,
    user: User,
    sign_in: &IdTokenSignIn,
) -> Result<IdTokenDecision, DatabaseError> {
    if let Err(refusal) = user.check_state() {
        login_attempts::insert_kept_out(tx, &sign_in.attempt, &user).await?;
        return Ok(IdTokenDecision::Refused(refusal));
    }
    begin(tx, &user, sign_in).await?;
    note_sign_in(tx, &sign_in.identity, sign_in.now).await?;
    Ok(IdTokenDecision::SignedIn {
        user: Box::new(user),
        is_new: false,
    })
}

/// Begins the session of a user, and records the attempt.
async fn begin(tx: &mut Connection, user: &User, sign_in: &IdTokenSignIn) -> Result<(), DatabaseError> {
    let token = NewRefreshToken {
        session: Session {
            user_id: user.id,
            ..sign_in.token.session.clone()
        },
        ..sign_in.token.clone()
    };
    sessions::begin(tx, &token).await?;
    sessions::make_room(tx, &token.session, sign_in.policy.max_per_user, sign_in.now).await?;
    let attempt = NewLoginAttempt {
        user_id: Some(user.id),
        ..sign_in.attempt.clone()
    };
    login_attempts::insert(tx, &attempt).await
}

/// Notes when an account was last signed in with, and the address that the provider names now.
async fn note_sign_in(
    tx: &mut Connection,
    identity: &ExternalIdentity,
    now: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    let of_key = oauth_accounts::table
        .filter(oauth_accounts::issuer.eq(&identity.key.issuer))
        .filter(oauth_accounts::subject.eq(identity.key.subject.as_str()));
    diesel::update(of_key)
        .set((
            oauth_accounts::last_sign_in_at.eq(StoredTime(now)),
            oauth_accounts::updated_at.eq(StoredTime(now)),
        ))
        .kept()
        .execute(tx)
        .await?;
    if let Some(claimed) = &identity.email {
        diesel::update(of_key)
            .set((
                oauth_accounts::email.eq(claimed.email.as_str()),
                oauth_accounts::email_verified.eq(claimed.is_verified),
            ))
            .kept()
            .execute(tx)
            .await?;
    }
    Ok(())
}

/// Something was there when it was looked at first, and is not any more; or the other way round. The transaction is
/// tried again.
fn gone_meanwhile() -> DatabaseError {
    DatabaseError::Conflict("an account was linked or unlinked meanwhile".to_owned())
}
