//! Tells those who follow the events when a transaction of this process that wrote some has been committed.

use std::cell::Cell;
use std::sync::Arc;

use tokio::sync::Notify;

tokio::task_local! {
    static HAS_EVENTS: Cell<bool>;
}

/// Wakes up whoever follows the events. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct EventCommits(Arc<Notify>);

impl EventCommits {
    /// Waits until a transaction with events has been committed since this was last asked.
    pub(crate) async fn next(&self) {
        self.0.notified().await;
    }

    /// Says that there is something to look for.
    pub(crate) fn notify(&self) {
        self.0.notify_one();
    }
}

/// Runs an attempt at a transaction, and tells also whether it wrote events.
pub(super) async fn noting_events<R>(attempt: impl Future<Output = R>) -> (R, bool) {
    HAS_EVENTS
        .scope(Cell::new(false), async {
            let outcome = attempt.await;
            (outcome, HAS_EVENTS.with(Cell::get))
        })
        .await
}

/// Notes that the transaction at hand has written an event.
pub(super) fn note_event() {
    // Outside of a transaction there is nobody to tell.
    let _ = HAS_EVENTS.try_with(|has_events| has_events.set(true));
}
