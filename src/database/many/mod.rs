//! Reads of many things at once, each by a key of its own: what reads share that wait at the same moment.

pub(crate) mod postgres;
pub(crate) mod sqlite;

use std::collections::HashMap;

use crate::database::rows::{SessionRow, UserRow};
use crate::domain::{Session, SessionId, User, UserId};

/// A session with its user, as stored.
type StoredSession = (SessionRow, UserRow);

/// A session with its user.
type SessionWithUser = (Session, User);

fn by_id(rows: Vec<UserRow>) -> HashMap<UserId, User> {
    rows.into_iter()
        .map(User::from)
        .map(|user| (user.id, user))
        .collect()
}

fn by_email(rows: Vec<UserRow>) -> HashMap<String, User> {
    rows.into_iter()
        .map(User::from)
        .filter_map(|user| Some((user.profile.email.as_ref()?.normalized().to_owned(), user)))
        .collect()
}

fn by_username(rows: Vec<UserRow>) -> HashMap<String, User> {
    rows.into_iter()
        .map(User::from)
        .filter_map(|user| Some((user.profile.username.as_ref()?.normalized().to_owned(), user)))
        .collect()
}

fn by_session(rows: Vec<StoredSession>) -> HashMap<SessionId, SessionWithUser> {
    rows.into_iter()
        .map(|(session, user)| (Session::from(session), User::from(user)))
        .map(|(session, user)| (session.id, (session, user)))
        .collect()
}
