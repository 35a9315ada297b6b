//! Reads new events once for everybody who watches.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio::sync::watch;

use super::{Batch, Feed, Head, PAGE};
use crate::database::DatabaseError;
use crate::domain::{EventCursor, ReadWindow, UserChangeSeen, WatchFilter, WatchPosition};

/// How many batches are kept for watchers that are a little behind: some seconds' worth. Who is further behind reads
/// from the database.
const RECENT_BATCHES: usize = 16;

/// How soon after it looked the tail looks again at the earliest, however many transactions commit: together they are
/// read at the cost of one.
const MIN_PAUSE: Duration = Duration::from_millis(5);

/// How long the tail leaves a database alone that does not answer.
const REST: Duration = Duration::from_secs(1);

/// What looking for events came to.
enum Found {
    Nothing,
    /// There are events that a running transaction holds back.
    HeldBack,
    /// There may be more at once.
    Page,
}

pub(super) async fn keep_following(feed: &Feed) {
    let mut watchers = feed.watchers.subscribe();
    loop {
        if watchers.wait_for(|count| *count > 0).await.is_err() {
            return;
        }
        let nobody_watches = async {
            // An error means that the feed is gone.
            let _ = watchers.wait_for(|count| *count == 0).await;
        };
        tokio::select! {
            () = nobody_watches => {}
            () = Tail::new(feed).follow() => {}
        }
        feed.head.send_replace(None);
        feed.parts.metrics.held_back_seconds.set(0.0);
    }
}

struct Tail<'a> {
    feed: &'a Feed,
    /// Since when events are held back.
    held_back_since: Option<Instant>,
    is_failing: bool,
}

impl<'a> Tail<'a> {
    const fn new(feed: &'a Feed) -> Self {
        Self {
            feed,
            held_back_since: None,
            is_failing: false,
        }
    }

    async fn follow(mut self) {
        let interval = self.feed.parts.settings.interval;
        let mut pause_while_held_back = MIN_PAUSE;
        loop {
            let looked_at = tokio::time::Instant::now();
            let outcome = self.look().await;
            self.note(&outcome);
            let pause = match outcome {
                Ok(Found::Page) => continue,
                Ok(Found::Nothing) => {
                    pause_while_held_back = MIN_PAUSE;
                    interval
                }
                // Most transactions are over in an instant; for one that is not, there is no hurry.
                Ok(Found::HeldBack) => {
                    let pause = pause_while_held_back.min(interval);
                    pause_while_held_back = pause * 2;
                    pause
                }
                Err(_) => REST,
            };
            tokio::select! {
                () = self.feed.commits.next() => {}
                () = tokio::time::sleep_until(looked_at + pause) => {}
            }
            tokio::time::sleep_until(looked_at + MIN_PAUSE).await;
        }
    }

    async fn look(&self) -> Result<Found, DatabaseError> {
        let Some(head) = self.feed.head.borrow().clone() else {
            let (position, _) = self.feed.position().await?;
            self.feed.head.send_replace(Some(Arc::new(Head::at(position))));
            return Ok(Found::Page);
        };
        if !head.published.cursor.is_at_end_of_window() {
            return self.read_page(&head, &head.published, head.window_as_of).await;
        }
        let as_of = self.feed.parts.clock.now();
        let checked = &head.checked;
        let window = self.feed.parts.events.window_after(checked.cursor.to).await?;
        let may_have_lost = self.is_failing || window.end < checked.cursor.to;
        if may_have_lost && !self.feed.has(checked, window.end).await? {
            // Another server may have taken its place that did not have the newest changes, or a backup.
            tracing::warn!("the database has lost changes of users that had been told");
            self.feed.losses.fetch_add(1, Ordering::AcqRel);
            self.feed.head.send_replace(None);
            return Ok(Found::Page);
        }
        let Some(first) = window.first else {
            self.note_silence(&head, window.to, as_of);
            let found = if window.has_held_back {
                Found::HeldBack
            } else {
                Found::Nothing
            };
            return Ok(found);
        };
        let before = WatchPosition {
            cursor: EventCursor {
                from: checked.cursor.to,
                to: window.to,
                sequence: first - 1,
            },
            ..*checked
        };
        self.read_page(&head, &before, as_of).await
    }

    /// Notes that nothing has happened before a transaction. Nobody is woken up for that.
    fn note_silence(&self, head: &Arc<Head>, to: i64, as_of: DateTime<Utc>) {
        let checked = WatchPosition {
            cursor: EventCursor::before(to.max(head.checked.cursor.to)),
            as_of,
            ..head.checked
        };
        let next = Head {
            checked,
            recent: head.recent.clone(),
            ..**head
        };
        self.feed.head.send_if_modified(|shared| {
            *shared = Some(Arc::new(next));
            false
        });
    }

    /// Reads the next events of a window and publishes them.
    async fn read_page(
        &self,
        head: &Head,
        before: &WatchPosition,
        window_as_of: DateTime<Utc>,
    ) -> Result<Found, DatabaseError> {
        let events = self
            .feed
            .parts
            .events
            .read_window(ReadWindow {
                after: before.cursor,
                filter: WatchFilter::default(),
                limit: PAGE,
            })
            .await?;
        let is_last = i64::try_from(events.len()).unwrap_or(i64::MAX) < PAGE;
        let read_at = Instant::now();
        let changes = self.feed.with_users(before, events).await?;
        self.count(&changes);
        let last = changes.last().map_or(*before, |(position, _)| *position);
        let end = if is_last {
            WatchPosition {
                cursor: EventCursor::before(before.cursor.to),
                as_of: window_as_of,
                ..last
            }
        } else {
            last
        };
        let batch = Batch {
            after: head.published.cursor,
            read_at,
            changes,
            end,
        };
        self.feed
            .head
            .send_replace(Some(Arc::new(head.followed_by(batch, window_as_of))));
        Ok(Found::Page)
    }

    fn count(&self, changes: &[(WatchPosition, Arc<UserChangeSeen>)]) {
        let now = self.feed.parts.clock.now();
        for (_, change) in changes {
            let delay = now - change.event.occurred_at;
            self.feed
                .parts
                .metrics
                .delay_seconds
                .observe(delay.as_seconds_f64().max(0.0));
        }
    }

    fn note(&mut self, outcome: &Result<Found, DatabaseError>) {
        match outcome {
            Ok(Found::HeldBack) => {
                let since = *self.held_back_since.get_or_insert_with(Instant::now);
                let seconds = since.elapsed().as_secs_f64();
                self.feed.parts.metrics.held_back_seconds.set(seconds);
            }
            Ok(Found::Nothing) if self.held_back_since.take().is_some() => {
                self.feed.parts.metrics.held_back_seconds.set(0.0);
            }
            Ok(Found::Nothing | Found::Page) | Err(_) => {}
        }
        if let Err(error) = outcome
            && !self.is_failing
        {
            tracing::warn!(%error, "changes of users cannot be followed at the moment");
        }
        self.is_failing = outcome.is_err();
    }
}

impl Head {
    const fn at(position: WatchPosition) -> Self {
        Self {
            published: position,
            window_as_of: position.as_of,
            checked: position,
            recent: std::collections::VecDeque::new(),
        }
    }

    fn followed_by(&self, batch: Batch, window_as_of: DateTime<Utc>) -> Self {
        let mut recent = self.recent.clone();
        if recent.len() == RECENT_BATCHES {
            recent.pop_front();
        }
        let end = batch.end;
        recent.push_back(Arc::new(batch));
        Self {
            published: end,
            window_as_of,
            checked: end,
            recent,
        }
    }
}

/// Counts somebody who watches, for as long as it is kept.
pub(super) struct Presence(Arc<Feed>);

impl Presence {
    pub(super) fn begin(feed: &Arc<Feed>) -> Self {
        feed.watchers.send_modify(|count| *count += 1);
        feed.parts.metrics.watchers.inc();
        Self(Arc::clone(feed))
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.0
            .watchers
            .send_modify(|count| *count = count.saturating_sub(1));
        self.0.parts.metrics.watchers.dec();
    }
}

/// Follows the head of a feed.
pub(super) type HeadReceiver = watch::Receiver<Option<Arc<Head>>>;
