//! Queries of `user_events`.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::{BoolExpressionMethods, ExpressionMethods, QueryDsl, SelectableHelper};
use diesel_async::RunQueryDsl;

use super::{Backend, Connection, insert_user_events};
use crate::database::DatabaseError;
use crate::database::rows::UserEventRow;
use crate::database::schema::user_events;
use crate::database::sql_types::{StoredName, StoredTime, StoredUuid};
use crate::domain::{ListUserEvents, NewUserEvent, UserEvent};

/// Records what this transaction has done to a user. It keeps the user, or the session, from being deleted until it ends,
/// so that the deletion of a user is the last of its events.
pub(super) async fn record(tx: &mut Connection, event: &NewUserEvent<'_>) -> Result<(), DatabaseError> {
    diesel::insert_into(user_events::table)
        .values(UserEventRow::from(event))
        .execute(tx)
        .await?;
    Ok(())
}

/// Records several events at once.
pub(super) async fn record_all(
    tx: &mut Connection,
    events: &[NewUserEvent<'_>],
) -> Result<(), DatabaseError> {
    /// PostgreSQL takes 65,535 parameters of a statement, and an event has fewer than 12.
    const EVENTS_PER_STATEMENT: usize = 2_000;
    for chunk in events.chunks(EVENTS_PER_STATEMENT) {
        let rows = chunk.iter().map(UserEventRow::from).collect();
        insert_user_events(tx, rows).await?;
    }
    Ok(())
}

/// Returns the events that match a filter, the newest first, after a position.
pub(crate) async fn list(
    connection: &mut Connection,
    list: &ListUserEvents,
) -> Result<Vec<UserEvent>, DatabaseError> {
    let filter = &list.filter;
    let mut query = user_events::table
        .select(UserEventRow::as_select())
        .into_boxed::<Backend>();
    if let Some(user_id) = filter.user_id {
        query = query.filter(user_events::user_id.eq(StoredUuid::from(user_id)));
    }
    if let Some(actor) = &filter.actor {
        query = query.filter(user_events::actor_kind.eq(StoredName(actor.kind)));
        if let Some(name) = &actor.name {
            query = query.filter(user_events::actor_name.eq(name));
        }
    }
    // One of one is no list, so that the order is that of the index.
    query = match filter.types.as_slice() {
        [] => query,
        [event_type] => query.filter(user_events::event_type.eq(StoredName(*event_type))),
        types => {
            let types: Vec<_> = types.iter().copied().map(StoredName).collect();
            query.filter(user_events::event_type.eq_any(types))
        }
    };
    if let Some(from) = filter.occurred_from {
        query = query.filter(user_events::occurred_at.ge(StoredTime(from)));
    }
    if let Some(before) = filter.occurred_before {
        query = query.filter(user_events::occurred_at.lt(StoredTime(before)));
    }
    if let Some(after) = &list.after {
        query = query.filter(
            user_events::occurred_at.le(StoredTime(after.created_at)).and(
                user_events::occurred_at
                    .lt(StoredTime(after.created_at))
                    .or(user_events::id.lt(StoredUuid(after.id))),
            ),
        );
    }
    let rows: Vec<UserEventRow> = query
        .order((user_events::occurred_at.desc(), user_events::id.desc()))
        .limit(list.limit)
        .load(connection)
        .await?;
    Ok(rows.into_iter().map(UserEvent::from).collect())
}

/// Deletes events that are older than a time span, at most `batch` of them, and returns how many.
pub(crate) async fn delete_old(
    tx: &mut Connection,
    (now, older_than, batch): &(DateTime<Utc>, TimeDelta, i64),
) -> Result<usize, DatabaseError> {
    let old: Vec<StoredUuid> = user_events::table
        .filter(user_events::occurred_at.lt(StoredTime(*now - *older_than)))
        .select(user_events::id)
        .order(user_events::occurred_at)
        .limit(*batch)
        .load(tx)
        .await?;
    Ok(
        diesel::delete(user_events::table.filter(user_events::id.eq_any(old)))
            .execute(tx)
            .await?,
    )
}
