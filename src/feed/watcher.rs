//! Somebody who watches: where it is, and what to tell it next.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, Utc};
use tokio::sync::watch;
use tokio::time::Instant as TimerInstant;

use super::tail::{HeadReceiver, Presence};
use super::{Batch, Feed, Head, PAGE, see};
use crate::database::DatabaseError;
use crate::domain::{
    EventCursor, ListUsersById, ReadWindow, Refusal, SnapshotPosition, User, UserChangeSeen,
    WatchFilter, WatchPosition,
};
use crate::tokens::StandingToken;

/// What a watcher is told.
#[derive(Debug, Clone)]
pub enum WatchMessage {
    /// A user of the snapshot.
    User(Box<User>),
    /// A change.
    Change(Arc<UserChangeSeen>),
    /// Everything has been told up to here.
    Checkpoint,
}

/// Why a watch does not begin, or ends.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The database cannot be read.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The caller may not watch any more.
    #[error("refused: {0:?}")]
    Refused(Refusal),
    /// The position is older than what is kept.
    #[error("the position is older than the events that are kept")]
    Expired,
    /// The database has not been at the position, or has lost it.
    #[error("the database has not been at the position")]
    UnknownPosition,
    /// The server ends.
    #[error("the server ends")]
    Ending,
}

/// Watches. What it tells comes one message at a time, when it is asked for, and from the database if it was not asked
/// for in time.
pub struct Watcher {
    feed: Arc<Feed>,
    filter: WatchFilter,
    token: Option<StandingToken>,
    token_readings: Option<watch::Receiver<()>>,
    head: HeadReceiver,
    /// What has been read and not told, at most a page.
    pending: VecDeque<(WatchPosition, WatchMessage)>,
    /// The position after all that is pending.
    read_to: WatchPosition,
    /// As of when the last message was.
    told_as_of: DateTime<Utc>,
    /// When the window that is being read was taken, if that is known.
    window_as_of: Option<DateTime<Utc>>,
    /// Whether it has read, without the tail, what was there when it began.
    is_following: bool,
    /// Transactions before this one had begun when it began.
    goal: i64,
    /// When users were last looked up: what was looked up before is not told any more.
    last_read: Instant,
    /// How often the database had lost something when it began.
    losses: u64,
    has_told_checkpoint: bool,
    next_checkpoint: TimerInstant,
    _presence: Presence,
}

impl Watcher {
    pub(super) fn new(
        feed: Arc<Feed>,
        position: WatchPosition,
        goal: i64,
        filter: WatchFilter,
        token: Option<StandingToken>,
    ) -> Self {
        let presence = Presence::begin(&feed);
        Self {
            token_readings: token.as_ref().map(StandingToken::readings),
            head: feed.head.subscribe(),
            losses: feed.losses(),
            feed,
            filter,
            token,
            pending: VecDeque::new(),
            told_as_of: position.as_of,
            read_to: position,
            window_as_of: None,
            is_following: false,
            goal,
            last_read: Instant::now(),
            has_told_checkpoint: false,
            next_checkpoint: TimerInstant::now(),
            _presence: presence,
        }
    }

    /// Waits for the next message, and returns it with the position after it. After an error there is none.
    pub async fn next(&mut self) -> Result<(WatchMessage, WatchPosition), WatchError> {
        loop {
            self.check()?;
            if let Some((position, message)) = self.pending.pop_front() {
                self.told_as_of = position.as_of;
                self.feed.parts.metrics.delivered.inc();
                self.restart_timer();
                return Ok((message, position));
            }
            if self.read_to.snapshot.is_some() {
                self.read_snapshot().await?;
                continue;
            }
            // Seen before it is looked at, so that no change of it is missed.
            let head = self.head.borrow_and_update().clone();
            let is_behind = match &head {
                _ if !self.is_following => true,
                Some(head) => self.is_behind(head),
                None => false,
            };
            if is_behind {
                self.read_on(head.as_deref()).await?;
            } else if let Some(position) = self.checkpoint(head.as_deref()) {
                self.has_told_checkpoint = true;
                self.told_as_of = position.as_of;
                // Nothing has happened meanwhile. The cursor stays where the tail's next batch begins.
                self.read_to.as_of = position.as_of;
                self.restart_timer();
                return Ok((WatchMessage::Checkpoint, position));
            } else {
                self.wait().await;
            }
        }
    }

    /// Checks that it may go on.
    fn check(&self) -> Result<(), WatchError> {
        if self.feed.parts.health.has_ended() {
            return Err(WatchError::Ending);
        }
        if self.feed.losses() != self.losses {
            return Err(WatchError::UnknownPosition);
        }
        if let Some(token) = &self.token {
            let now = self.feed.parts.clock.now();
            token.check(now).map_err(WatchError::Refused)?;
        }
        Ok(())
    }

    fn restart_timer(&mut self) {
        self.next_checkpoint = TimerInstant::now() + self.feed.parts.settings.checkpoint_interval;
    }

    /// Waits until there may be something to tell.
    async fn wait(&mut self) {
        // Until the first checkpoint, which depends on what nobody is woken up for.
        let soon = TimerInstant::now() + self.feed.parts.settings.interval;
        let until = if self.has_told_checkpoint {
            self.next_checkpoint.max(soon)
        } else {
            soon
        };
        let token_is_read = async {
            match &mut self.token_readings {
                // An error means that the server is gone.
                Some(readings) => drop(readings.changed().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.head.changed() => {}
            () = token_is_read => {}
            () = tokio::time::sleep_until(until) => {}
            () = self.feed.parts.health.ended() => {}
        }
    }

    /// Returns the position of a checkpoint, if it is time for one.
    fn checkpoint(&self, head: Option<&Head>) -> Option<WatchPosition> {
        let checked = head.map_or(&self.read_to, |head| &head.checked);
        let place = if checked.cursor.to >= self.read_to.cursor.to && checked.as_of > self.read_to.as_of
        {
            checked
        } else {
            &self.read_to
        };
        let is_time = if self.has_told_checkpoint {
            // A tail that cannot look has nothing to say.
            TimerInstant::now() >= self.next_checkpoint && place.as_of > self.told_as_of
        } else {
            place.cursor.is_past(self.goal)
        };
        is_time.then_some(*place)
    }

    /// Reads the next users of the snapshot.
    async fn read_snapshot(&mut self) -> Result<(), WatchError> {
        let after = match self.read_to.snapshot {
            Some(SnapshotPosition::After(id)) => Some(id),
            Some(SnapshotPosition::Beginning) | None => None,
        };
        let (users, is_last) = if self.filter.user_ids.is_empty() {
            let list = ListUsersById { after, limit: PAGE };
            let page = self.feed.parts.users.list_by_id(list).await?;
            let is_last = i64::try_from(page.len()).unwrap_or(i64::MAX) < PAGE;
            (page, is_last)
        } else {
            let mut ids = self.filter.user_ids.clone();
            ids.retain(|id| after.is_none_or(|after| *id > after));
            let found = self.feed.parts.users.find_by_ids(ids).await?;
            let mut users: Vec<User> = found.into_values().collect();
            users.sort_unstable_by_key(|user| user.id);
            (users, true)
        };
        self.last_read = Instant::now();
        for user in users {
            let position = WatchPosition {
                snapshot: Some(SnapshotPosition::After(user.id)),
                ..self.read_to
            };
            self.read_to = position;
            self.pending
                .push_back((position, WatchMessage::User(Box::new(user))));
        }
        if is_last {
            self.read_to.snapshot = None;
        }
        Ok(())
    }

    fn is_behind(&self, head: &Head) -> bool {
        let cursor = &self.read_to.cursor;
        // Who is where the tail is waits for it, also in the middle of a window.
        *cursor != head.published.cursor
            && (!cursor.is_at_end_of_window() || cursor.to < head.published.cursor.to)
    }

    /// Reads what comes next: from the tail if it has it, otherwise from the database.
    async fn read_on(&mut self, head: Option<&Head>) -> Result<(), WatchError> {
        let batch = head.and_then(|head| batch_after(head, &self.read_to.cursor));
        if let Some(batch) = batch {
            self.is_following = true;
            return self.take(&batch).await;
        }
        // What comes next may have been removed.
        self.feed.check_age(&self.read_to)?;
        if self.read_to.cursor.is_at_end_of_window() && !self.enter_window(head).await? {
            return Ok(());
        }
        self.read_page().await
    }

    /// Takes what the tail has read.
    async fn take(&mut self, batch: &Batch) -> Result<(), WatchError> {
        let wanted: Vec<_> = batch
            .changes
            .iter()
            .filter(|(_, change)| self.filter.wants(&change.event))
            .collect();
        // The users of an earlier message may be newer than those of the tail.
        let newer = if batch.read_at > self.last_read {
            None
        } else {
            let events = wanted.iter().map(|(_, change)| &change.event);
            let users = self.feed.users_of(events).await?;
            self.last_read = Instant::now();
            Some(users)
        };
        for (position, change) in wanted {
            let change = match &newer {
                Some(users) => Arc::new(see(change.event.clone(), users)),
                None => Arc::clone(change),
            };
            self.pending.push_back((*position, WatchMessage::Change(change)));
        }
        self.read_to = batch.end;
        Ok(())
    }

    /// Takes the next window: up to where the tail is, so that its batches come next, or up to the present.
    /// Returns whether there is anything in it.
    async fn enter_window(&mut self, head: Option<&Head>) -> Result<bool, WatchError> {
        let from = self.read_to.cursor.to;
        let now = self.feed.parts.clock.now();
        let window = self.feed.parts.events.window_after(from).await?;
        let (to, as_of) = match head {
            Some(head) if self.is_following && head.published.cursor.to <= window.to => {
                (head.published.cursor.to, head.window_as_of)
            }
            _ => (window.to, now),
        };
        let to = to.max(from);
        if let Some(first) = window.first.filter(|_| to > from) {
            self.read_to.cursor = EventCursor {
                from,
                to,
                sequence: first - 1,
            };
            self.window_as_of = Some(as_of);
            return Ok(true);
        }
        self.read_to.cursor = EventCursor::before(to);
        self.read_to.as_of = as_of.max(self.read_to.as_of);
        self.is_following = true;
        Ok(false)
    }

    /// Reads the next events of the window.
    async fn read_page(&mut self) -> Result<(), WatchError> {
        let read = ReadWindow {
            after: self.read_to.cursor,
            filter: self.filter.clone(),
            limit: PAGE,
        };
        let events = self.feed.parts.events.read_window(read).await?;
        let is_last = i64::try_from(events.len()).unwrap_or(i64::MAX) < PAGE;
        let changes = self.feed.with_users(&self.read_to, events).await?;
        self.last_read = Instant::now();
        for (position, change) in changes {
            self.read_to = position;
            self.pending.push_back((position, WatchMessage::Change(change)));
        }
        if is_last {
            self.read_to.cursor = EventCursor::before(self.read_to.cursor.to);
            if let Some(as_of) = self.window_as_of.take() {
                self.read_to.as_of = as_of.max(self.read_to.as_of);
            }
        }
        Ok(())
    }
}

fn batch_after(head: &Head, cursor: &EventCursor) -> Option<Arc<Batch>> {
    head.recent.iter().find(|batch| batch.after == *cursor).cloned()
}
