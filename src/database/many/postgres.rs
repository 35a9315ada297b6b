//! Reads of many things at once: on PostgreSQL one statement, whatever the number of keys.

#![expect(
    clippy::ptr_arg,
    reason = "a query takes its arguments as its caller keeps them"
)]

use std::collections::HashMap;

use diesel::prelude::{ExpressionMethods, JoinOnDsl, QueryDsl, SelectableHelper};
use diesel_async::RunQueryDsl;

use super::{SessionWithUser, StoredSession, by_email, by_id, by_session, by_username};
use crate::database::DatabaseError;
use crate::database::postgres::Connection;
use crate::database::rows::{SessionRow, UserRow};
use crate::database::schema::{sessions, signing_keys, users};
use crate::database::shared_reads::TokenSession;
use crate::database::sql_types::StoredUuid;
use crate::database::written_once::{WrittenOnce, names};
use crate::domain::{Session, SessionId, User, UserId};

names!(
    UsersById,
    UsersByEmail,
    UsersByUsername,
    SessionsWithUser,
    SessionsForToken
);

/// Fills a list of keys up with the last of them.
///
/// PostgreSQL keeps the plan of a statement if it is as good as one for the parameters at hand. It takes any array for one
/// of ten, so that with fewer keys it would make a plan at every execution, which takes longer than to find
/// the rows. A key that comes twice is looked up once.
fn padded<Key: Clone>(mut keys: Vec<Key>) -> Vec<Key> {
    /// More than any array is taken for, with what a plan itself is taken to cost.
    const KEYS: usize = 16;
    if let Some(last) = keys.last().cloned() {
        keys.resize(keys.len().max(KEYS), last);
    }
    keys
}

/// Returns those of the users that exist.
pub(crate) async fn users_by_id(
    connection: &mut Connection,
    ids: &Vec<UserId>,
) -> Result<HashMap<UserId, User>, DatabaseError> {
    let ids = padded(ids.iter().copied().map(StoredUuid::from).collect());
    let found = users::table
        .filter(users::id.eq_any(ids))
        .select(UserRow::as_select());
    let rows = WrittenOnce::<UsersById, _>::new(found).load(connection).await?;
    Ok(by_id(rows))
}

/// Returns those of the users with these normalised emails that exist.
pub(crate) async fn users_by_email(
    connection: &mut Connection,
    emails: &Vec<String>,
) -> Result<HashMap<String, User>, DatabaseError> {
    let found = users::table
        .filter(users::email_normalized.eq_any(padded(emails.clone())))
        .select(UserRow::as_select());
    let rows = WrittenOnce::<UsersByEmail, _>::new(found)
        .load(connection)
        .await?;
    Ok(by_email(rows))
}

/// Returns those of the users with these normalised usernames that exist.
pub(crate) async fn users_by_username(
    connection: &mut Connection,
    usernames: &Vec<String>,
) -> Result<HashMap<String, User>, DatabaseError> {
    let found = users::table
        .filter(users::username_normalized.eq_any(padded(usernames.clone())))
        .select(UserRow::as_select());
    let rows = WrittenOnce::<UsersByUsername, _>::new(found)
        .load(connection)
        .await?;
    Ok(by_username(rows))
}

/// Returns those of the sessions that exist, with their users.
pub(crate) async fn sessions_with_user(
    connection: &mut Connection,
    ids: &Vec<SessionId>,
) -> Result<HashMap<SessionId, SessionWithUser>, DatabaseError> {
    let ids = padded(ids.iter().copied().map(StoredUuid::from).collect());
    let found = sessions::table
        .inner_join(users::table)
        .filter(sessions::id.eq_any(ids))
        .select((SessionRow::as_select(), UserRow::as_select()));
    let rows: Vec<StoredSession> = WrittenOnce::<SessionsWithUser, _>::new(found)
        .load(connection)
        .await?;
    Ok(by_session(rows))
}

/// Returns the sessions of tokens with their users, those of them that exist, unless the key that signed the token was
/// given up.
pub(crate) async fn sessions_for_token(
    connection: &mut Connection,
    tokens: &Vec<TokenSession>,
) -> Result<HashMap<TokenSession, SessionWithUser>, DatabaseError> {
    let ids = padded(tokens.iter().map(|(id, _)| StoredUuid::from(*id)).collect());
    let mut kids: Vec<&str> = tokens.iter().map(|(_, kid)| kid.as_str()).collect();
    kids.sort_unstable();
    kids.dedup();
    // Each session with each key: there is rarely more than one that signs.
    let found = sessions::table
        .inner_join(users::table)
        .inner_join(signing_keys::table.on(signing_keys::kid.eq_any(kids)))
        .filter(sessions::id.eq_any(ids))
        .filter(signing_keys::revoked_at.is_null())
        .select((SessionRow::as_select(), UserRow::as_select(), signing_keys::kid));
    let rows: Vec<(SessionRow, UserRow, String)> = WrittenOnce::<SessionsForToken, _>::new(found)
        .load(connection)
        .await?;
    let by_token = rows.into_iter().map(|(session, user, kid)| {
        let session = Session::from(session);
        ((session.id, kid), (session, User::from(user)))
    });
    Ok(by_token.collect())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::padded;

    #[test]
    fn lists_are_filled_up_and_never_cut() {
        for count in 0..40 {
            let keys: Vec<usize> = (0..count).collect();
            let filled = padded(keys.clone());
            assert_eq!(filled.len(), if count == 0 { 0 } else { count.max(16) });
            assert_eq!(
                filled.into_iter().collect::<HashSet<_>>(),
                keys.into_iter().collect()
            );
        }
    }
}
