//! Every query, written once and compiled for each database. The owner is part of each that a user's call leads to.

use chrono::{DateTime, Utc};
use diesel::prelude::{
    BoolExpressionMethods, ExpressionMethods, NullableExpressionMethods, OptionalExtension, QueryDsl,
    SelectableHelper,
};
use diesel::result::QueryResult;
use diesel_async::{AsyncConnection, RunQueryDsl};
use uuid::Uuid;

use super::{Backend, Connection};
use crate::access_tokens::UserId;
use crate::database::rows::{Departures, NewTask, Position, Task, TaskChange};
use crate::database::schema::{departed_users, tasks, user_watch};
use crate::database::sql_types::{StoredTime, StoredUuid};

/// Writes a task.
pub(crate) async fn create(connection: &mut Connection, task: NewTask) -> QueryResult<Task> {
    diesel::insert_into(tasks::table)
        .values(task)
        .returning(Task::as_returning())
        .get_result(connection)
        .await
}

/// Reads a task of an owner.
pub(crate) async fn get(
    connection: &mut Connection,
    owner: UserId,
    id: Uuid,
) -> QueryResult<Option<Task>> {
    tasks::table
        .find(StoredUuid(id))
        .filter(tasks::user_id.eq(StoredUuid::from(owner)))
        .select(Task::as_select())
        .first(connection)
        .await
        .optional()
}

/// Reads the tasks of an owner, or of nobody, newest first, from a position on.
pub(crate) async fn list(
    connection: &mut Connection,
    owner: Option<UserId>,
    after: Option<Position>,
    limit: i64,
) -> QueryResult<Vec<Task>> {
    let newest_first = tasks::table
        .select(Task::as_select())
        .order((tasks::created_at.desc(), tasks::id.desc()))
        .limit(limit)
        .into_boxed::<Backend>();
    let of_owner = match owner {
        Some(owner) => newest_first.filter(tasks::user_id.eq(StoredUuid::from(owner))),
        None => newest_first.filter(tasks::user_id.is_null()),
    };
    let page = match after {
        None => of_owner,
        // The first condition is one that an index can begin at; the second leaves out the tasks of the same moment
        // that have been listed.
        Some(Position { created_at, id }) => of_owner
            .filter(tasks::created_at.le(StoredTime(created_at)))
            .filter(
                tasks::created_at
                    .lt(StoredTime(created_at))
                    .or(tasks::id.lt(StoredUuid(id))),
            ),
    };
    page.load(connection).await
}

/// Changes a task of an owner.
pub(crate) async fn update(
    connection: &mut Connection,
    owner: UserId,
    id: Uuid,
    change: TaskChange,
) -> QueryResult<Option<Task>> {
    let owned = tasks::table
        .find(StoredUuid(id))
        .filter(tasks::user_id.eq(StoredUuid::from(owner)));
    diesel::update(owned)
        .set(change)
        .returning(Task::as_returning())
        .get_result(connection)
        .await
        .optional()
}

/// Deletes a task of an owner, and tells whether there was one.
pub(crate) async fn delete(connection: &mut Connection, owner: UserId, id: Uuid) -> QueryResult<bool> {
    let owned = tasks::table
        .find(StoredUuid(id))
        .filter(tasks::user_id.eq(StoredUuid::from(owner)));
    let count = diesel::delete(owned).execute(connection).await?;
    Ok(count > 0)
}

/// Gives a task of nobody an owner. Of several that try, the database lets one: whoever waited for the row finds that
/// it has an owner by then.
pub(crate) async fn claim(
    connection: &mut Connection,
    owner: UserId,
    id: Uuid,
    now: DateTime<Utc>,
) -> QueryResult<Option<Task>> {
    let unowned = tasks::table.find(StoredUuid(id)).filter(tasks::user_id.is_null());
    let claimed = diesel::update(unowned)
        .set((
            tasks::user_id.eq(StoredUuid::from(owner)),
            tasks::updated_at.eq(StoredTime(now)),
        ))
        .returning(Task::as_returning())
        .get_result(connection)
        .await
        .optional()?;
    match claimed {
        Some(task) => Ok(Some(task)),
        // A claim that is repeated, because its answer was lost, finds the task with its owner.
        None => get(connection, owner, id).await,
    }
}

/// Reads where following the deletions of users goes on.
pub(crate) async fn resume_token(connection: &mut Connection) -> QueryResult<Option<String>> {
    user_watch::table
        .select(user_watch::resume_token)
        .first(connection)
        .await
        .optional()
}

/// Reads the users who own tasks, in the order of their ids, after one of them.
pub(crate) async fn owners(
    connection: &mut Connection,
    after: Option<Uuid>,
    limit: i64,
) -> QueryResult<Vec<Uuid>> {
    let owners = tasks::table
        .select(tasks::user_id.assume_not_null())
        .filter(tasks::user_id.is_not_null())
        .distinct()
        .order(tasks::user_id)
        .limit(limit)
        .into_boxed::<Backend>();
    let page = match after {
        None => owners,
        Some(id) => owners.filter(tasks::user_id.gt(StoredUuid(id))),
    };
    let ids: Vec<StoredUuid> = page.load(connection).await?;
    Ok(ids.into_iter().map(|id| id.0).collect())
}

/// Deletes the tasks of users who are gone, and notes how far the deletions have been followed: both or neither.
///
/// Users stay noted until `forget_before`, so that a task that somebody creates with an access token from before goes
/// with the next call. Returns how many tasks were deleted.
pub(crate) async fn follow(
    connection: &mut Connection,
    departures: Departures,
    resume_token: Option<String>,
    now: DateTime<Utc>,
    forget_before: DateTime<Utc>,
) -> QueryResult<usize> {
    connection
        .transaction(async |tx| {
            // A write comes first, so that SQLite takes its lock before anything is read.
            let returned = departures.returned.into_iter().map(StoredUuid);
            let is_settled = departed_users::noted_at
                .lt(StoredTime(forget_before))
                .or(departed_users::user_id.eq_any(returned));
            diesel::delete(departed_users::table)
                .filter(is_settled)
                .execute(tx)
                .await?;
            for id in departures.gone {
                diesel::insert_into(departed_users::table)
                    .values((
                        departed_users::user_id.eq(StoredUuid(id)),
                        departed_users::noted_at.eq(StoredTime(now)),
                    ))
                    .on_conflict_do_nothing()
                    .execute(tx)
                    .await?;
            }
            let gone = departed_users::table.select(departed_users::user_id.nullable());
            let deleted = diesel::delete(tasks::table)
                .filter(tasks::user_id.eq_any(gone))
                .execute(tx)
                .await?;
            if let Some(token) = resume_token {
                diesel::insert_into(user_watch::table)
                    .values((user_watch::id.eq(1), user_watch::resume_token.eq(&token)))
                    .on_conflict(user_watch::id)
                    .do_update()
                    .set(user_watch::resume_token.eq(&token))
                    .execute(tx)
                    .await?;
            }
            Ok(deleted)
        })
        .await
}
