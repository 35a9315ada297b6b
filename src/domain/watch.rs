//! Positions in what happened to all users, in an order that is the same for everybody who follows it.
//!
//! On PostgreSQL, neither the numbers of events nor the ids of their transactions are in the order of commits. What is
//! certain is this: once no transaction below some id is running (`pg_snapshot_xmin`), all of their events are there.
//! Whoever follows the events reads them in *windows* between two such ids, and in the order of their numbers
//! inside. A transaction that waited for another one's lock on a user takes its numbers after it. It may have the lower id
//! of the two, if it had written something before; then a third one between them that goes on would have it in an earlier
//! window, so such a window ends before both. The changes of a user come in the order in which they took effect. The
//! position inside a window says which window it is, so that the rest of it is the same for whoever reads on.
//!
//! On SQLite, which has one writer, the number of an event stands for the id of its transaction.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{User, UserEvent, UserEventType, UserId};

/// How far somebody has come: past every event of the transactions before `from`, and past those of the transactions
/// in `from..to` whose numbers are at most `sequence`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventCursor {
    /// The first transaction of the window.
    pub from: i64,
    /// The first transaction after the window; all before it have ended.
    pub to: i64,
    /// The number of the last event that was read in the window.
    pub sequence: i64,
}

impl EventCursor {
    /// Past every event of the transactions before this one.
    #[must_use]
    pub const fn before(transaction: i64) -> Self {
        Self {
            from: transaction,
            to: transaction,
            sequence: 0,
        }
    }

    /// Tells whether every event of the transactions before this one has been read. In the middle of a window that reaches
    /// beyond it, some may be left.
    #[must_use]
    pub const fn is_past(&self, transaction: i64) -> bool {
        self.from >= transaction
    }

    /// Tells whether nothing is left in the window.
    #[must_use]
    pub const fn is_at_end_of_window(&self) -> bool {
        self.from == self.to
    }
}

/// An event that was there when a position was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventMark {
    /// The event.
    pub id: Uuid,
    /// When it happened: after some time, it is not kept any more.
    pub occurred_at: DateTime<Utc>,
}

impl From<&UserEvent> for EventMark {
    fn from(event: &UserEvent) -> Self {
        Self {
            id: event.id,
            occurred_at: event.occurred_at,
        }
    }
}

/// A position that can be given away and come back much later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchPosition {
    /// How far it is.
    pub cursor: EventCursor,
    /// When everything before it had happened, and nothing after it.
    pub as_of: DateTime<Utc>,
    /// The newest event before it that is known. A database that has lost it is at another state.
    pub mark: Option<EventMark>,
    /// The last user that was told of the snapshot, if that is not finished. The cursor is where it began.
    pub snapshot: Option<SnapshotPosition>,
}

/// How far a snapshot has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnapshotPosition {
    /// Nothing has been told.
    Beginning,
    /// Everybody with an id up to this one has been told.
    After(UserId),
}

impl WatchPosition {
    /// How long after it happened an event may be seen at last: transactions that take longer, and clocks that
    /// differ by more, are no part of normal service.
    const SLACK: TimeDelta = TimeDelta::hours(1);

    /// Tells whether events after the position may have been removed because they are older than is kept.
    #[must_use]
    pub fn has_expired(&self, retention: TimeDelta, now: DateTime<Utc>) -> bool {
        self.as_of - Self::SLACK <= now - retention
    }

    /// Returns the event that must be there, unless it may have been removed because of its age.
    #[must_use]
    pub fn kept_mark(&self, retention: TimeDelta, now: DateTime<Utc>) -> Option<EventMark> {
        self.mark
            .filter(|mark| mark.occurred_at - Self::SLACK > now - retention)
    }
}

/// The next window, as the database sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventWindow {
    /// The first transaction that may be running, or has not begun.
    pub to: i64,
    /// The number of the first event of the window; `None` if it has none.
    pub first: Option<i64>,
    /// Whether there are committed events that a running transaction holds back.
    pub has_held_back: bool,
    /// No transaction has this id or a higher one.
    pub end: i64,
}

/// What somebody wants to hear of.
#[derive(Debug, Clone, Default)]
pub struct WatchFilter {
    /// Events of one of these types; of all if empty.
    pub types: Vec<UserEventType>,
    /// Events about one of these users; about all if empty.
    pub user_ids: Vec<UserId>,
}

impl WatchFilter {
    /// Tells whether an event is wanted.
    #[must_use]
    pub fn wants(&self, event: &UserEvent) -> bool {
        (self.types.is_empty() || self.types.contains(&event.event_type))
            && (self.user_ids.is_empty() || self.user_ids.contains(&event.user_id))
    }
}

/// Events of a window to read, in the order of their numbers.
#[derive(Debug, Clone)]
pub struct ReadWindow {
    /// After which position.
    pub after: EventCursor,
    /// Which of them.
    pub filter: WatchFilter,
    /// The most events to return.
    pub limit: i64,
}

/// An event with its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberedEvent {
    /// The number.
    pub sequence: i64,
    /// The event.
    pub event: UserEvent,
}

/// A page of users in the order of their ids.
#[derive(Debug, Clone)]
pub struct ListUsersById {
    /// After whom; from the start if `None`.
    pub after: Option<UserId>,
    /// The most users to return.
    pub limit: i64,
}

/// An event, and the user as it was when that was looked up, which was after the event.
#[derive(Debug, Clone)]
pub struct UserChangeSeen {
    /// The event.
    pub event: UserEvent,
    /// The user; `None` if it is deleted.
    pub user: Option<User>,
}

#[cfg(test)]
mod tests {
    use super::EventCursor;

    #[test]
    fn in_the_middle_of_a_window_its_transactions_are_not_past() {
        let middle = EventCursor {
            from: 10,
            to: 20,
            sequence: 7,
        };
        assert!(middle.is_past(10) && !middle.is_past(11) && !middle.is_past(20));
        let end = EventCursor::before(20);
        assert!(end.is_past(20) && !end.is_past(21));
    }
}
