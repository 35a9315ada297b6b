//! Reads of many things at once: on SQLite one statement for each key, which is prepared once per connection. There are
//! no round trips to save, and a statement whose text depends on the number of keys is prepared anew each time.

#![expect(
    clippy::ptr_arg,
    reason = "a query takes its arguments as its caller keeps them"
)]

use std::collections::HashMap;

use diesel::prelude::{ExpressionMethods, OptionalExtension, QueryDsl, RunQueryDsl, SelectableHelper};
use diesel::result::QueryResult;
use diesel::sqlite::SqliteConnection;

use super::{SessionWithUser, StoredSession, by_email, by_id, by_session, by_username};
use crate::database::DatabaseError;
use crate::database::rows::{SessionRow, UserRow};
use crate::database::schema::{sessions, signing_keys, users};
use crate::database::shared_reads::TokenSession;
use crate::database::sql_types::StoredUuid;
use crate::database::sqlite::Connection;
use crate::domain::{SessionId, User, UserId};

/// Asks for one thing after the other.
async fn each<Key: Send + 'static, Row: Send + 'static>(
    connection: &mut Connection,
    keys: Vec<Key>,
    get: impl Fn(&mut SqliteConnection, Key) -> QueryResult<Option<Row>> + Send + 'static,
) -> Result<Vec<Row>, DatabaseError> {
    let found = connection.spawn_blocking(move |sqlite| {
        let rows = keys.into_iter().filter_map(|key| get(sqlite, key).transpose());
        rows.collect()
    });
    Ok(found.await?)
}

/// Returns those of the users that exist.
pub(crate) async fn users_by_id(
    connection: &mut Connection,
    ids: &Vec<UserId>,
) -> Result<HashMap<UserId, User>, DatabaseError> {
    let rows = each(connection, ids.clone(), |sqlite, id| {
        let user = users::table.find(StoredUuid::from(id));
        user.select(UserRow::as_select()).first(sqlite).optional()
    });
    Ok(by_id(rows.await?))
}

/// Returns those of the users with these normalised emails that exist.
pub(crate) async fn users_by_email(
    connection: &mut Connection,
    emails: &Vec<String>,
) -> Result<HashMap<String, User>, DatabaseError> {
    let rows = each(connection, emails.clone(), |sqlite, email| {
        let user = users::table.filter(users::email_normalized.eq(email));
        user.select(UserRow::as_select()).first(sqlite).optional()
    });
    Ok(by_email(rows.await?))
}

/// Returns those of the users with these normalised usernames that exist.
pub(crate) async fn users_by_username(
    connection: &mut Connection,
    usernames: &Vec<String>,
) -> Result<HashMap<String, User>, DatabaseError> {
    let rows = each(connection, usernames.clone(), |sqlite, username| {
        let user = users::table.filter(users::username_normalized.eq(username));
        user.select(UserRow::as_select()).first(sqlite).optional()
    });
    Ok(by_username(rows.await?))
}

/// Returns those of the sessions that exist, with their users.
pub(crate) async fn sessions_with_user(
    connection: &mut Connection,
    ids: &Vec<SessionId>,
) -> Result<HashMap<SessionId, SessionWithUser>, DatabaseError> {
    Ok(by_session(
        each(connection, ids.clone(), session_with_user).await?,
    ))
}

/// Returns the sessions of tokens with their users, those of them that exist, unless the key that signed the token was
/// given up.
pub(crate) async fn sessions_for_token(
    connection: &mut Connection,
    tokens: &Vec<TokenSession>,
) -> Result<HashMap<TokenSession, SessionWithUser>, DatabaseError> {
    let rows = each(connection, tokens.clone(), |sqlite, token| {
        let (id, kid) = &token;
        let key: Option<String> = signing_keys::table
            .find(kid)
            .filter(signing_keys::revoked_at.is_null())
            .select(signing_keys::kid)
            .first(sqlite)
            .optional()?;
        if key.is_none() {
            return Ok(None);
        }
        let found = session_with_user(sqlite, *id)?;
        Ok(found.map(|(session, user)| (token, (session.into(), user.into()))))
    });
    Ok(rows.await?.into_iter().collect())
}

fn session_with_user(
    sqlite: &mut SqliteConnection,
    id: SessionId,
) -> QueryResult<Option<StoredSession>> {
    sessions::table
        .inner_join(users::table)
        .filter(sessions::id.eq(StoredUuid::from(id)))
        .select((SessionRow::as_select(), UserRow::as_select()))
        .first(sqlite)
        .optional()
}
