//! What a caller wants done, as the repositories take it.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{Etag, Origin, UserChange, UserFilter, UserId, UserOrder};

/// A change of one user.
#[derive(Debug, Clone)]
pub struct UpdateUser {
    /// Who is changed.
    pub id: UserId,
    /// What happens.
    pub change: UserChange,
    /// The version it may happen to; any if `None`.
    pub etag: Option<Etag>,
    /// The time of the change.
    pub now: DateTime<Utc>,
}

/// The deletion of one user.
#[derive(Debug, Clone)]
pub struct DeleteUser {
    /// Who is deleted.
    pub id: UserId,
    /// The version it may happen to; any if `None`.
    pub etag: Option<Etag>,
    /// The time of the deletion.
    pub now: DateTime<Utc>,
}

/// A page of a list of users.
#[derive(Debug, Clone)]
pub struct ListUsers {
    /// Which users.
    pub filter: UserFilter,
    /// In which order.
    pub order: UserOrder,
    /// After which position; from the start if `None`.
    pub after: Option<ListPosition>,
    /// The most users to return.
    pub limit: i64,
}

/// A position in a list: that of the last item before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListPosition {
    /// When that item was created.
    pub created_at: DateTime<Utc>,
    /// That item.
    pub id: Uuid,
}

/// A page of the sessions of a user, the newest first.
#[derive(Debug, Clone)]
pub struct ListSessions {
    /// Whose sessions.
    pub user_id: UserId,
    /// Only those that are live at this time; all if `None`.
    pub live_at: Option<DateTime<Utc>>,
    /// After which position; from the start if `None`.
    pub after: Option<ListPosition>,
    /// The most sessions to return.
    pub limit: i64,
}

/// Which attempts a list is narrowed to; every condition that is given must hold.
#[derive(Debug, Clone, Default)]
pub struct LoginAttemptFilter {
    /// As this user.
    pub user_id: Option<UserId>,
    /// With this login name, as it is kept.
    pub identifier: Option<String>,
    /// Accepted, or not.
    pub success: Option<bool>,
    /// At this time or later.
    pub attempted_from: Option<DateTime<Utc>>,
    /// Before this time.
    pub attempted_before: Option<DateTime<Utc>>,
}

/// A page of attempts to sign in, the newest first.
#[derive(Debug, Clone)]
pub struct ListLoginAttempts {
    /// Which attempts.
    pub filter: LoginAttemptFilter,
    /// After which position; from the start if `None`.
    pub after: Option<ListPosition>,
    /// The most attempts to return.
    pub limit: i64,
}

/// A change with what is written beside it, in the same transaction.
#[derive(Debug, Clone)]
pub struct Command<T> {
    /// The change.
    pub value: T,
    /// The record of the request, if its caller gave it an id.
    pub request: Option<RequestRecord>,
    /// Where the change comes from, which its event says.
    pub origin: Origin,
}

impl<T> Command<T> {
    /// Makes a change whose caller gave it no id.
    #[must_use]
    pub const fn new(value: T, origin: Origin) -> Self {
        Self {
            value,
            request: None,
            origin,
        }
    }
}

/// Remembers that a request was carried out, so that a retry changes nothing.
#[derive(Debug, Clone)]
pub struct RequestRecord {
    /// Who called.
    pub caller: String,
    /// The name of the method.
    pub method: &'static str,
    /// The id of the request.
    pub request_id: Uuid,
    /// Tells the request apart from others, without telling anything about it.
    pub fingerprint: [u8; 32],
    /// The time of the call.
    pub now: DateTime<Utc>,
}

impl RequestRecord {
    /// How long a record is kept: longer than any sensible client retries.
    pub const LIFETIME: TimeDelta = TimeDelta::hours(24);

    /// Returns when the record stops counting.
    #[must_use]
    pub fn expires_at(&self) -> DateTime<Utc> {
        self.now + Self::LIFETIME
    }
}
