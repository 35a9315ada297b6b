//! Queries of `user_events`.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::{
    BoolExpressionMethods, ExpressionMethods, OptionalExtension, QueryDsl, QueryableByName,
    SelectableHelper,
};
use diesel::sql_types::{BigInt, Bool, Nullable};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{Backend, Connection, adopt_events, event_window, in_window, insert_user_events};
use crate::database::DatabaseError;
use crate::database::event_commits::note_event;
use crate::database::rows::UserEventRow;
use crate::database::schema::user_events;
use crate::database::sql_types::{StoredName, StoredTime, StoredUuid};
use crate::domain::{
    EventMark, EventWindow, ListUserEvents, NewUserEvent, NumberedEvent, ReadWindow, UserEvent,
};

/// Records what this transaction has done to a user. It keeps the user, or the session, from being deleted until it ends,
/// so that the deletion of a user is the last of its events.
pub(super) async fn record(tx: &mut Connection, event: &NewUserEvent<'_>) -> Result<(), DatabaseError> {
    diesel::insert_into(user_events::table)
        .values(UserEventRow::from(event))
        .execute(tx)
        .await?;
    note_event();
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
        note_event();
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

/// A window as the database tells of it.
#[derive(QueryableByName)]
pub(in crate::database) struct WindowRow {
    #[diesel(sql_type = BigInt)]
    window_end: i64,
    #[diesel(sql_type = BigInt)]
    transactions_end: i64,
    #[diesel(sql_type = Bool)]
    has_held_back: bool,
    #[diesel(sql_type = Nullable<BigInt>)]
    first_sequence: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    overtaken: Option<i64>,
}

/// Returns the window of the events from a transaction on, when those of the transactions before `told` have been told.
///
/// It ends before the first transaction that may be running. A transaction that changes a user after another one did may
/// have the lower id of the two all the same, and a third one between them that goes on would part them: then the window
/// ends before both, which may part others.
async fn window(
    connection: &mut Connection,
    from: i64,
    told: i64,
) -> Result<EventWindow, DatabaseError> {
    let mut end_at_most = i64::MAX;
    loop {
        let row = event_window(connection, from, end_at_most, told).await?;
        match row.overtaken {
            Some(transaction) => end_at_most = transaction,
            None => {
                return Ok(EventWindow {
                    to: row.window_end,
                    first: row.first_sequence,
                    has_held_back: row.has_held_back,
                    end: row.transactions_end,
                });
            }
        }
    }
}

/// Returns the window of the events that come after those of the transactions before `from`, which have been told.
pub(crate) async fn window_after(
    connection: &mut Connection,
    from: &i64,
) -> Result<EventWindow, DatabaseError> {
    window(connection, *from, *from).await
}

/// Returns the window after all events that are there, for whoever has been told of none.
pub(crate) async fn end(connection: &mut Connection, (): &()) -> Result<EventWindow, DatabaseError> {
    window(connection, i64::MAX, 0).await
}

/// Returns the next events of a window that match a filter.
pub(crate) async fn read_window(
    connection: &mut Connection,
    read: &ReadWindow,
) -> Result<Vec<NumberedEvent>, DatabaseError> {
    let mut query = user_events::table
        .select((user_events::sequence, UserEventRow::as_select()))
        .filter(user_events::sequence.gt(read.after.sequence))
        .into_boxed::<Backend>()
        .filter(in_window(&read.after));
    if !read.filter.types.is_empty() {
        let types: Vec<_> = read.filter.types.iter().copied().map(StoredName).collect();
        query = query.filter(user_events::event_type.eq_any(types));
    }
    if !read.filter.user_ids.is_empty() {
        let ids: Vec<_> = read
            .filter
            .user_ids
            .iter()
            .copied()
            .map(StoredUuid::from)
            .collect();
        query = query.filter(user_events::user_id.eq_any(ids));
    }
    let rows: Vec<(i64, UserEventRow)> = query
        .order(user_events::sequence)
        .limit(read.limit)
        .load(connection)
        .await?;
    let numbered = |(sequence, row)| NumberedEvent {
        sequence,
        event: UserEvent::from(row),
    };
    Ok(rows.into_iter().map(numbered).collect())
}

/// Returns the event with the highest number.
pub(crate) async fn newest(
    connection: &mut Connection,
    (): &(),
) -> Result<Option<EventMark>, DatabaseError> {
    let row: Option<(StoredUuid, StoredTime)> = user_events::table
        .select((user_events::id, user_events::occurred_at))
        .order(user_events::sequence.desc())
        .first(connection)
        .await
        .optional()?;
    Ok(row.map(|(id, occurred_at)| EventMark {
        id: id.0,
        occurred_at: occurred_at.0,
    }))
}

/// Tells whether an event is there.
pub(crate) async fn is_there(connection: &mut Connection, id: &Uuid) -> Result<bool, DatabaseError> {
    let found = user_events::table.filter(user_events::id.eq(StoredUuid(*id)));
    Ok(diesel::select(diesel::dsl::exists(found))
        .get_result(connection)
        .await?)
}

/// Sees to it that events which were restored from a backup can be followed. Returns how many that took.
pub(crate) async fn adopt(tx: &mut Connection, (): &()) -> Result<usize, DatabaseError> {
    adopt_events(tx, &()).await
}
