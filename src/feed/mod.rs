//! The changes of users, for whoever follows them.
//!
//! One task of the server, the tail, reads new events once, with the users they are about, and publishes them; every
//! watcher takes them from there. Who is behind reads from the database, a page at a time and at its own pace: nothing
//! is kept for anybody. The tail runs while somebody watches. It looks when a transaction of this process has committed
//! events, and otherwise at intervals, for what other processes do. PostgreSQL could tell by NOTIFY, but with it
//! commits wait for each other, and poolers lose it.

mod tail;
mod watcher;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::watch;

pub use watcher::{WatchError, WatchMessage, Watcher};

use crate::clock::Clock;
use crate::config::WatchSettings;
use crate::database::{DatabaseError, DatabaseKind, EventCommits};
use crate::domain::{
    EventCursor, NumberedEvent, SnapshotPosition, User, UserChangeSeen, UserEvent, UserEventType,
    UserId, WatchFilter, WatchPosition,
};
use crate::health::Health;
use crate::repositories::{UserEventRepository, UserRepository};
use crate::telemetry::WatchMetrics;
use crate::tokens::StandingToken;

/// The most events, or users of a snapshot, that are read at once: what a watcher keeps in memory.
const PAGE: i64 = 100;

/// What the changes are followed with.
pub struct FeedParts {
    /// The events.
    pub events: UserEventRepository,
    /// The users.
    pub users: UserRepository,
    /// How often to look, and to say that nothing happened.
    pub settings: WatchSettings,
    /// How long events are kept.
    pub retention: TimeDelta,
    /// Says when the server ends.
    pub health: Health,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Counts.
    pub metrics: WatchMetrics,
}

/// Follows the changes of users. Cheap to clone.
#[derive(Clone)]
pub struct UserFeed(Arc<Feed>);

struct Feed {
    parts: FeedParts,
    commits: EventCommits,
    head: watch::Sender<Option<Arc<Head>>>,
    watchers: watch::Sender<usize>,
    /// How often the database turned out to have lost what had been told.
    losses: AtomicU64,
}

/// How far the tail has come. There is none while nobody watches.
struct Head {
    /// Past the newest event that was published.
    published: WatchPosition,
    /// When the window that the newest event is in was taken.
    window_as_of: DateTime<Utc>,
    /// Past what is known to be no event.
    checked: WatchPosition,
    /// The newest of what was published, the oldest first.
    recent: VecDeque<Arc<Batch>>,
}

/// Events that were read together.
struct Batch {
    /// Where the last batch ended.
    after: EventCursor,
    /// When the users were looked up, at the earliest.
    read_at: Instant,
    /// The events, each with the position after it.
    changes: Vec<(WatchPosition, Arc<UserChangeSeen>)>,
    /// The position after all of them.
    end: WatchPosition,
}

/// Where somebody wants to begin.
#[derive(Debug, Clone, Copy)]
pub enum WatchFrom {
    /// With a snapshot.
    Beginning,
    /// With what comes.
    Now,
    /// At a position that was given away before.
    Position(WatchPosition),
}

impl UserFeed {
    /// Makes the feed, which nobody watches.
    #[must_use]
    pub fn new(parts: FeedParts) -> Self {
        let commits = parts.events.commits();
        Self(Arc::new(Feed {
            parts,
            commits,
            head: watch::Sender::new(None),
            watchers: watch::Sender::new(0),
            losses: AtomicU64::new(0),
        }))
    }

    /// Tells which kind of database the positions are of.
    #[must_use]
    pub fn kind(&self) -> DatabaseKind {
        self.0.parts.events.kind()
    }

    /// Returns a position that has everything after it that is committed from now on.
    pub async fn position(&self) -> Result<WatchPosition, DatabaseError> {
        Ok(self.0.position().await?.0)
    }

    /// Begins to watch.
    pub async fn watch(
        &self,
        from: WatchFrom,
        filter: WatchFilter,
        token: Option<StandingToken>,
    ) -> Result<Watcher, WatchError> {
        let (now, end) = self.0.position().await?;
        let position = match from {
            WatchFrom::Now => now,
            WatchFrom::Beginning => WatchPosition {
                snapshot: Some(SnapshotPosition::Beginning),
                ..now
            },
            WatchFrom::Position(position) => {
                self.0.check(&position, end).await?;
                position
            }
        };
        Ok(Watcher::new(Arc::clone(&self.0), position, end, filter, token))
    }

    /// Follows the events for as long as the server runs.
    pub async fn keep_following(&self) {
        tail::keep_following(&self.0).await;
    }
}

impl Feed {
    /// Returns the present position, and the id that no transaction has had.
    async fn position(&self) -> Result<(WatchPosition, i64), DatabaseError> {
        let as_of = self.parts.clock.now();
        let window = self.parts.events.end().await?;
        let mark = self.parts.events.newest().await?;
        let position = WatchPosition {
            cursor: EventCursor::before(window.to),
            as_of,
            mark,
            snapshot: None,
        };
        Ok((position, window.end))
    }

    /// Checks that the database is one in which the position has been.
    async fn check(&self, position: &WatchPosition, end: i64) -> Result<(), WatchError> {
        self.check_age(position)?;
        if self.has(position, end).await? {
            Ok(())
        } else {
            Err(WatchError::UnknownPosition)
        }
    }

    /// Tells whether the database has been at a position, and has what was before it.
    async fn has(&self, position: &WatchPosition, end: i64) -> Result<bool, DatabaseError> {
        if position.cursor.to > end {
            return Ok(false);
        }
        let now = self.parts.clock.now();
        match position.kept_mark(self.parts.retention, now) {
            Some(mark) => self.parts.events.is_there(mark.id).await,
            None => Ok(true),
        }
    }

    fn losses(&self) -> u64 {
        self.losses.load(Ordering::Acquire)
    }

    fn check_age(&self, position: &WatchPosition) -> Result<(), WatchError> {
        if position.has_expired(self.parts.retention, self.parts.clock.now()) {
            return Err(WatchError::Expired);
        }
        Ok(())
    }

    /// Looks up the users of some events.
    async fn users_of(
        &self,
        events: impl Iterator<Item = &UserEvent>,
    ) -> Result<HashMap<UserId, User>, DatabaseError> {
        let ids: HashSet<UserId> = events
            .filter(|event| event.event_type != UserEventType::UserDeleted)
            .map(|event| event.user_id)
            .collect();
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        self.parts.users.find_by_ids(ids.into_iter().collect()).await
    }

    /// Puts events together with their users and the positions after them. `before` is the position before all of
    /// them.
    async fn with_users(
        &self,
        before: &WatchPosition,
        events: Vec<NumberedEvent>,
    ) -> Result<Vec<(WatchPosition, Arc<UserChangeSeen>)>, DatabaseError> {
        let users = self
            .users_of(events.iter().map(|numbered| &numbered.event))
            .await?;
        let changes = events.into_iter().map(|numbered| {
            let NumberedEvent { sequence, event } = numbered;
            let position = WatchPosition {
                cursor: EventCursor {
                    sequence,
                    ..before.cursor
                },
                // What comes after it did not happen long before it.
                as_of: before.as_of.max(event.occurred_at),
                mark: Some((&event).into()),
                snapshot: None,
            };
            (position, Arc::new(see(event, &users)))
        });
        Ok(changes.collect())
    }
}

/// Puts an event together with its user. After a deletion there is none, also if the id was given again.
fn see(event: UserEvent, users: &HashMap<UserId, User>) -> UserChangeSeen {
    let is_gone = event.event_type == UserEventType::UserDeleted;
    let user = users.get(&event.user_id).filter(|_| !is_gone).cloned();
    UserChangeSeen { event, user }
}
