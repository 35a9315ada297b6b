//! Reads of many things at once: on SQLite one statement for each key, which is prepared once per connection. There are
//! no round trips to save, and a statement whose text depends on the number of keys is prepared anew each time.

#![expect(
    clippy::ptr_arg,
    reason = "a query takes its arguments as its caller keeps them"
)]

use std::collections::HashMap;
use std::hash::Hash;

use diesel::result::QueryResult;
use diesel::sqlite::SqliteConnection;

use super::SessionWithUser;
use crate::database::DatabaseError;
use crate::database::shared_reads::TokenSession;
use crate::database::sqlite::Connection;
use crate::domain::{SessionId, User, UserId};

/// Reads of one thing, on the thread that asks.
pub(crate) mod one {
    use diesel::dsl::exists;
    use diesel::prelude::{
        ExpressionMethods, OptionalExtension, QueryDsl, RunQueryDsl, SelectableHelper,
    };
    use diesel::result::QueryResult;
    use diesel::sqlite::SqliteConnection;

    use crate::database::many::{SessionWithUser, StoredSession};
    use crate::database::rows::{SessionRow, UserRow};
    use crate::database::schema::{sessions, signing_keys, users};
    use crate::database::shared_reads::TokenSession;
    use crate::database::sql_types::StoredUuid;
    use crate::domain::{SessionId, User, UserId};

    /// Returns the user with an id.
    pub(crate) fn users_by_id(sqlite: &mut SqliteConnection, id: &UserId) -> QueryResult<Option<User>> {
        let user = users::table
            .find(StoredUuid::from(*id))
            .select(UserRow::as_select());
        Ok(user.first(sqlite).optional()?.map(User::from))
    }

    /// Returns the user with a normalised email.
    pub(crate) fn users_by_email(
        sqlite: &mut SqliteConnection,
        email: &String,
    ) -> QueryResult<Option<User>> {
        let user = users::table
            .filter(users::email_normalized.eq(email))
            .select(UserRow::as_select());
        Ok(user.first(sqlite).optional()?.map(User::from))
    }

    /// Returns the user with a normalised username.
    pub(crate) fn users_by_username(
        sqlite: &mut SqliteConnection,
        username: &String,
    ) -> QueryResult<Option<User>> {
        let user = users::table
            .filter(users::username_normalized.eq(username))
            .select(UserRow::as_select());
        Ok(user.first(sqlite).optional()?.map(User::from))
    }

    /// Returns a session with its user.
    pub(crate) fn sessions_with_user(
        sqlite: &mut SqliteConnection,
        id: &SessionId,
    ) -> QueryResult<Option<SessionWithUser>> {
        let found = sessions::table
            .inner_join(users::table)
            .filter(sessions::id.eq(StoredUuid::from(*id)))
            .select((SessionRow::as_select(), UserRow::as_select()))
            .first::<StoredSession>(sqlite);
        Ok(found
            .optional()?
            .map(|(session, user)| (session.into(), user.into())))
    }

    /// Returns the session of a token with its user, unless the key that signed the token was given up.
    pub(crate) fn sessions_for_token(
        sqlite: &mut SqliteConnection,
        (id, kid): &TokenSession,
    ) -> QueryResult<Option<SessionWithUser>> {
        let key = signing_keys::table
            .find(kid)
            .filter(signing_keys::revoked_at.is_null());
        let found = sessions::table
            .inner_join(users::table)
            .filter(sessions::id.eq(StoredUuid::from(*id)))
            .filter(exists(key))
            .select((SessionRow::as_select(), UserRow::as_select()))
            .first::<StoredSession>(sqlite);
        Ok(found
            .optional()?
            .map(|(session, user)| (session.into(), user.into())))
    }
}

/// Asks for one thing after the other.
async fn each<Key, Value>(
    connection: &mut Connection,
    keys: &[Key],
    get: impl Fn(&mut SqliteConnection, &Key) -> QueryResult<Option<Value>> + Send + 'static,
) -> Result<HashMap<Key, Value>, DatabaseError>
where
    Key: Clone + Eq + Hash + Send + 'static,
    Value: Send + 'static,
{
    let keys = keys.to_vec();
    let found = connection.spawn_blocking(move |sqlite| {
        let mut found = HashMap::with_capacity(keys.len());
        for key in keys {
            if let Some(value) = get(sqlite, &key)? {
                found.insert(key, value);
            }
        }
        Ok(found)
    });
    Ok(found.await?)
}

/// Returns those of the users that exist.
pub(crate) async fn users_by_id(
    connection: &mut Connection,
    keys: &Vec<UserId>,
) -> Result<HashMap<UserId, User>, DatabaseError> {
    each(connection, keys, one::users_by_id).await
}

/// Returns those of the users with these normalised emails that exist.
pub(crate) async fn users_by_email(
    connection: &mut Connection,
    keys: &Vec<String>,
) -> Result<HashMap<String, User>, DatabaseError> {
    each(connection, keys, one::users_by_email).await
}

/// Returns those of the users with these normalised usernames that exist.
pub(crate) async fn users_by_username(
    connection: &mut Connection,
    keys: &Vec<String>,
) -> Result<HashMap<String, User>, DatabaseError> {
    each(connection, keys, one::users_by_username).await
}

/// Returns those of the sessions that exist, with their users.
pub(crate) async fn sessions_with_user(
    connection: &mut Connection,
    keys: &Vec<SessionId>,
) -> Result<HashMap<SessionId, SessionWithUser>, DatabaseError> {
    each(connection, keys, one::sessions_with_user).await
}

/// Returns the sessions of tokens with their users, those of them that exist, unless the key that signed the token was
/// given up.
pub(crate) async fn sessions_for_token(
    connection: &mut Connection,
    keys: &Vec<TokenSession>,
) -> Result<HashMap<TokenSession, SessionWithUser>, DatabaseError> {
    each(connection, keys, one::sessions_for_token).await
}
