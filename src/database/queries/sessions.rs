//! Queries of `sessions`.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::{
    BoolExpressionMethods, ExpressionMethods, OptionalExtension, QueryDsl, SelectableHelper,
};
use diesel_async::RunQueryDsl;

use super::{
    Backend, Connection, lock_session, lock_session_with_user, lock_user, login_attempts,
    refresh_tokens, user_events,
};
use crate::database::DatabaseError;
use crate::database::kept::Keep;
use crate::database::rows::SessionRow;
use crate::database::schema::{sessions, users as users_table};
use crate::database::sql_types::{StoredName, StoredTime, StoredUuid};
use crate::domain::{
    Command, EndSession, EndSessions, ListSessions, LoginFailure, NewLoginAttempt, NewRefreshToken,
    NewUserEvent, Refresh, RefreshedSession, Refusal, Rotation, Session, SessionEndReason, SessionId,
    SignInMethod, UserEventType,
};

/// Returns a session.
pub(crate) async fn get(
    connection: &mut Connection,
    id: &SessionId,
) -> Result<Option<Session>, DatabaseError> {
    let row = sessions::table
        .find(StoredUuid::from(*id))
        .select(SessionRow::as_select())
        .first(connection)
        .await
        .optional()?;
    Ok(row.map(Session::from))
}

/// Returns the sessions of a user, the newest first, after a position.
pub(crate) async fn list(
    connection: &mut Connection,
    list: &ListSessions,
) -> Result<Vec<Session>, DatabaseError> {
    let mut query = sessions::table
        .filter(sessions::user_id.eq(StoredUuid::from(list.user_id)))
        .select(SessionRow::as_select())
        .into_boxed::<Backend>();
    if let Some(now) = list.live_at {
        query = query
            .filter(sessions::revoked_at.is_null())
            .filter(sessions::idle_expires_at.gt(StoredTime(now)));
    }
    if let Some(after) = &list.after {
        query = query.filter(
            sessions::created_at.le(StoredTime(after.created_at)).and(
                sessions::created_at
                    .lt(StoredTime(after.created_at))
                    .or(sessions::id.lt(StoredUuid(after.id))),
            ),
        );
    }
    let rows: Vec<SessionRow> = query
        .order((sessions::created_at.desc(), sessions::id.desc()))
        .limit(list.limit)
        .load(connection)
        .await?;
    Ok(rows.into_iter().map(Session::from).collect())
}

/// Begins a session with its first refresh token.
pub(crate) async fn begin(tx: &mut Connection, token: &NewRefreshToken) -> Result<(), DatabaseError> {
    diesel::insert_into(sessions::table)
        .values(SessionRow::from(&token.session))
        .execute(tx)
        .await?;
    refresh_tokens::create(tx, token).await?;
    Ok(())
}

/// Ends the sessions of a user that have gone unused longest, so that with a new one there are `most`. The new one stays,
/// even if the clock was set back since the others were refreshed.
pub(super) async fn make_room(
    tx: &mut Connection,
    new: &Session,
    most: i64,
    now: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    /// The most sessions that one statement names: SQLite takes no more than 32,766 parameters.
    const PER_STATEMENT: usize = 10_000;
    let surplus: Vec<StoredUuid> = sessions::table
        .filter(sessions::user_id.eq(StoredUuid::from(new.user_id)))
        .filter(sessions::revoked_at.is_null())
        .filter(sessions::idle_expires_at.gt(StoredTime(now)))
        .filter(sessions::id.ne(StoredUuid::from(new.id)))
        .order((sessions::last_refresh_at.desc(), sessions::id.desc()))
        .select(sessions::id)
        .limit(i64::MAX)
        .offset(most.saturating_sub(1))
        .load(tx)
        .await?;
    for ids in surplus.chunks(PER_STATEMENT) {
        let live = sessions::table
            .filter(sessions::id.eq_any(ids))
            .filter(sessions::revoked_at.is_null());
        let ended: Vec<(StoredUuid, i64)> = diesel::update(live)
            .set((
                sessions::revoked_at.eq(Some(StoredTime(now))),
                sessions::revoke_reason.eq(Some(StoredName(SessionEndReason::SessionLimit))),
            ))
            .returning((sessions::id, sessions::generation))
            .get_results(tx)
            .await?;
        refresh_tokens::revoke_of_sessions(tx, ended, now).await?;
    }
    Ok(())
}

/// Exchanges a refresh token, or says why not. A token that was used before ends its session.
pub(crate) async fn refresh(
    tx: &mut Connection,
    Command {
        value: rotation,
        origin,
        ..
    }: &Command<Rotation>,
) -> Result<RefreshedSession, DatabaseError> {
    let Some((session, user)) = lock_session_with_user(tx, rotation.session_id).await? else {
        return Ok(RefreshedSession::Refused(Refusal::TokenInvalid));
    };
    let decision = rotation.decide(&session, &user);
    if decision == Refresh::Reused && refresh_tokens::was_overtaken(tx, rotation).await? {
        return Ok(RefreshedSession::Refused(Refusal::TokenReused));
    }
    match decision {
        Refresh::WrongClient => {
            record(tx, &session, rotation, LoginFailure::WrongClient).await?;
            Ok(RefreshedSession::Refused(Refusal::TokenInvalid))
        }
        Refresh::Ended => Ok(RefreshedSession::Refused(Refusal::SessionEnded)),
        Refresh::Expired => Ok(RefreshedSession::Refused(Refusal::TokenExpired)),
        Refresh::Repeat => Ok(RefreshedSession::Refreshed(session)),
        Refresh::Rotate => rotate(tx, session, rotation).await,
        Refresh::Reused => {
            record(tx, &session, rotation, LoginFailure::TokenReused).await?;
            let event_type = UserEventType::RefreshTokenReused;
            let event = NewUserEvent::new(session.user_id, event_type, origin, rotation.now)
                .of_session(session.id);
            end_locked(tx, session, SessionEndReason::TokenReused, &event).await?;
            Ok(RefreshedSession::Refused(Refusal::TokenReused))
        }
    }
}

async fn rotate(
    tx: &mut Connection,
    session: Session,
    rotation: &Rotation,
) -> Result<RefreshedSession, DatabaseError> {
    let is_exchanged = refresh_tokens::mark_used(tx, &rotation.token_hash, rotation.now).await?;
    if !is_exchanged {
        // The token itself was revoked, or its row removed, by hand.
        return Ok(RefreshedSession::Refused(Refusal::SessionEnded));
    }
    let rotated = session.rotated(rotation.policy, rotation.now);
    diesel::update(sessions::table.find(StoredUuid::from(rotated.id)))
        .set((
            sessions::generation.eq(rotated.generation),
            sessions::last_refresh_at.eq(StoredTime(rotated.last_refresh_at)),
            sessions::idle_expires_at.eq(StoredTime(rotated.idle_expires_at)),
        ))
        .kept()
        .execute(tx)
        .await?;
    let token = NewRefreshToken {
        session: rotated,
        token_hash: rotation.next_token_hash,
        client: rotation.client.clone(),
        created_at: rotation.now,
    };
    refresh_tokens::create(tx, &token).await?;
    Ok(RefreshedSession::Refreshed(token.session))
}

/// Records that a refresh token was presented that should not have been.
async fn record(
    tx: &mut Connection,
    session: &Session,
    rotation: &Rotation,
    failure: LoginFailure,
) -> Result<(), DatabaseError> {
    let attempt = NewLoginAttempt {
        user_id: Some(session.user_id),
        identifier: None,
        client: rotation.client.clone(),
        method: SignInMethod::RefreshToken,
        failure: Some(failure),
        attempted_at: rotation.now,
    };
    login_attempts::insert(tx, &attempt).await
}

/// Ends a session, and returns it as it is afterwards and whether it was live until then.
pub(crate) async fn end(
    tx: &mut Connection,
    Command {
        value: end, origin, ..
    }: &Command<EndSession>,
) -> Result<Option<(Session, bool)>, DatabaseError> {
    let Some(session) = lock_session(tx, end.session_id).await? else {
        return Ok(None);
    };
    let was_live = session.is_live(end.now);
    let event = NewUserEvent::new(session.user_id, UserEventType::SessionsRevoked, origin, end.now)
        .of_session(session.id);
    let ended = end_locked(tx, session, end.reason, &event).await?;
    Ok(Some((ended, was_live)))
}

/// Ends a session that this transaction has locked, and records the event, unless it was ended before.
async fn end_locked(
    tx: &mut Connection,
    mut session: Session,
    reason: SessionEndReason,
    event: &NewUserEvent<'_>,
) -> Result<Session, DatabaseError> {
    if session.ended.is_some() {
        return Ok(session);
    }
    let now = event.occurred_at;
    diesel::update(sessions::table.find(StoredUuid::from(session.id)))
        .set((
            sessions::revoked_at.eq(Some(StoredTime(now))),
            sessions::revoke_reason.eq(Some(StoredName(reason))),
        ))
        .kept()
        .execute(tx)
        .await?;
    refresh_tokens::revoke_of_sessions(tx, vec![(session.id.into(), session.generation)], now).await?;
    user_events::record(tx, event).await?;
    session.ended = Some((now, reason));
    Ok(session)
}

/// How many sessions were ended.
pub(super) struct EndedSessions {
    /// All of them.
    pub(super) all: usize,
    /// Those that had not expired.
    pub(super) live: usize,
}

/// Ends the sessions of a user. The event is for the caller to record, who knows what they were ended for.
pub(super) async fn end_all(
    tx: &mut Connection,
    end: &EndSessions,
) -> Result<EndedSessions, DatabaseError> {
    let kept = end.except.map_or(StoredUuid(uuid::Uuid::nil()), StoredUuid::from);
    let of_user = sessions::table
        .filter(sessions::user_id.eq(StoredUuid::from(end.user_id)))
        .filter(sessions::revoked_at.is_null())
        .filter(sessions::id.ne(kept));
    let ended: Vec<StoredTime> = diesel::update(of_user)
        .set((
            sessions::revoked_at.eq(Some(StoredTime(end.now))),
            sessions::revoke_reason.eq(Some(StoredName(end.reason))),
        ))
        .returning(sessions::idle_expires_at)
        .kept()
        .get_results(tx)
        .await?;
    refresh_tokens::revoke_of_user(tx, end).await?;
    Ok(EndedSessions {
        all: ended.len(),
        live: ended.into_iter().filter(|expiry| end.now < expiry.0).count(),
    })
}

/// Ends every session of a user that somebody asked for by its id, and returns how many were live.
/// Access tokens that are out are not accepted any more. Without a session there are none, and nothing changes.
pub(crate) async fn end_all_of_user(
    tx: &mut Connection,
    Command {
        value: end, origin, ..
    }: &Command<EndSessions>,
) -> Result<usize, DatabaseError> {
    let user = lock_user(tx, end.user_id).await?;
    let user = user.ok_or(Refusal::UserNotFound(end.user_id))?;
    let ended = end_all(tx, end).await?;
    if ended.all == 0 {
        return Ok(0);
    }
    diesel::update(users_table::table.find(StoredUuid::from(end.user_id)))
        .set(users_table::tokens_valid_after.eq(Some(StoredTime(end.now))))
        .kept()
        .execute(tx)
        .await?;
    let occurred_at = user.next_change_at(end.now);
    let event = NewUserEvent::new(user.id, UserEventType::SessionsRevoked, origin, occurred_at);
    user_events::record(tx, &event).await?;
    Ok(ended.live)
}

/// Deletes sessions that expired or were ended a while ago, at most `batch` of them, and returns how many.
pub(crate) async fn purge(
    tx: &mut Connection,
    (now, batch): &(DateTime<Utc>, i64),
) -> Result<usize, DatabaseError> {
    /// How long a session can still be looked at after its end.
    const KEPT: TimeDelta = TimeDelta::days(7);
    let before = StoredTime(*now - KEPT);
    // Two questions instead of one with "or", so that each is answered from an index.
    let mut over: Vec<StoredUuid> = sessions::table
        // The index knows the days.
        .filter(sessions::idle_expires_day.le(before))
        .filter(sessions::idle_expires_at.lt(before))
        .select(sessions::id)
        .order(sessions::idle_expires_day)
        .limit(*batch)
        .load(tx)
        .await?;
    let room = *batch - i64::try_from(over.len()).unwrap_or(*batch);
    let ended: Vec<StoredUuid> = sessions::table
        .filter(sessions::revoked_at.lt(before))
        .filter(sessions::idle_expires_at.ge(before))
        .select(sessions::id)
        .order(sessions::revoked_at)
        .limit(room)
        .load(tx)
        .await?;
    over.extend(ended);
    Ok(diesel::delete(sessions::table.filter(sessions::id.eq_any(over)))
        .execute(tx)
        .await?)
}
