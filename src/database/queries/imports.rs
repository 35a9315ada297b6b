//! Importing users.

use std::collections::{HashMap, HashSet};

use diesel::prelude::{BoolExpressionMethods, ExpressionMethods, QueryDsl, SelectableHelper};
use diesel_async::RunQueryDsl;

use super::request_ids;
use super::{Connection, insert_free_users, user_events};
use crate::database::DatabaseError;
use crate::database::rows::UserRow;
use crate::database::schema::users;
use crate::database::sql_types::StoredUuid;
use crate::domain::{
    Command, Email, ImportOutcome, ImportUsers, NewUserEvent, User, UserEventType, UserId, Username,
};

/// Creates those of the users that nobody is in the way of, each with its event, and tells what became of every one.
///
/// A user that is there already, with the same id and the same login names, is left as it is, so that an import can be
/// repeated.
pub(crate) async fn run(
    tx: &mut Connection,
    command: &Command<ImportUsers>,
) -> Result<Vec<ImportOutcome>, DatabaseError> {
    let users = &command.value.users;
    let Some(first) = users.as_slice().first() else {
        return Ok(Vec::new());
    };
    // Repeated or not, the ids tell which of the users are there.
    request_ids::claim(tx, command.request.as_ref(), first.id).await?;
    let mut created = insert(tx, users).await?;
    let outcomes: Vec<Option<ImportOutcome>> = users
        .iter()
        // The same id a second time is somebody else, or the same user again.
        .map(|user| created.remove(&user.id).then_some(ImportOutcome::Created))
        .collect();
    let (written, left_out): (Vec<_>, Vec<_>) = users
        .iter()
        .zip(&outcomes)
        .partition(|(_, outcome)| outcome.is_some());
    let events: Vec<NewUserEvent<'_>> = written
        .into_iter()
        .map(|(user, _)| {
            NewUserEvent::new(
                user.id,
                UserEventType::UserCreated,
                &command.origin,
                user.updated_at,
            )
        })
        .collect();
    user_events::record_all(tx, &events).await?;
    let left_out: Vec<&User> = left_out.into_iter().map(|(user, _)| user).collect();
    let in_the_way = in_the_way(tx, &left_out).await?;
    Ok(users
        .iter()
        .zip(outcomes)
        .map(|(user, outcome)| outcome.unwrap_or_else(|| in_the_way.outcome(user)))
        .collect())
}

/// Writes the users whose id and login names are free, and returns their ids.
async fn insert(tx: &mut Connection, users: &[User]) -> Result<HashSet<UserId>, DatabaseError> {
    /// PostgreSQL takes 65,535 parameters of a statement, and a user has fewer than 30.
    const USERS_PER_STATEMENT: usize = 1_000;
    let mut created = HashSet::new();
    for chunk in users.chunks(USERS_PER_STATEMENT) {
        let rows = chunk.iter().map(UserRow::from).collect();
        let ids = insert_free_users(tx, rows).await?;
        created.extend(ids.into_iter().map(|id| UserId::from_stored(id.0)));
    }
    Ok(created)
}

/// The users that have what others were to get.
#[derive(Default)]
struct InTheWay {
    by_id: HashMap<UserId, User>,
    emails: HashSet<String>,
    usernames: HashSet<String>,
}

async fn in_the_way(tx: &mut Connection, left_out: &[&User]) -> Result<InTheWay, DatabaseError> {
    if left_out.is_empty() {
        return Ok(InTheWay::default());
    }
    let ids: Vec<StoredUuid> = left_out.iter().map(|user| user.id.into()).collect();
    let emails: Vec<String> = left_out.iter().filter_map(|user| email(user)).collect();
    let usernames: Vec<String> = left_out.iter().filter_map(|user| username(user)).collect();
    let rows: Vec<UserRow> = users::table
        .filter(
            users::id
                .eq_any(ids)
                .or(users::email_normalized.eq_any(emails))
                .or(users::username_normalized.eq_any(usernames)),
        )
        .select(UserRow::as_select())
        .load(tx)
        .await?;
    let mut found = InTheWay::default();
    for user in rows.into_iter().map(User::from) {
        found.emails.extend(email(&user));
        found.usernames.extend(username(&user));
        found.by_id.insert(user.id, user);
    }
    Ok(found)
}

impl InTheWay {
    fn outcome(&self, user: &User) -> ImportOutcome {
        if let Some(other) = self.by_id.get(&user.id) {
            let is_same = email(other) == email(user) && username(other) == username(user);
            return if is_same {
                ImportOutcome::Unchanged
            } else {
                ImportOutcome::UserIdTaken
            };
        }
        if email(user).is_some_and(|email| self.emails.contains(&email)) {
            return ImportOutcome::EmailTaken;
        }
        ImportOutcome::UsernameTaken
    }
}

fn email(user: &User) -> Option<String> {
    user.profile
        .email
        .as_ref()
        .map(Email::normalized)
        .map(str::to_owned)
}

fn username(user: &User) -> Option<String> {
    let username = user.profile.username.as_ref();
    username.map(Username::normalized).map(str::to_owned)
}
