//! Look-ups in SQLite that run where they are asked for.
//!
//! SQLite finds a row by its key in less time than it takes to wake a thread, to wait for it, and to be woken again. So a
//! look-up runs on the thread of the runtime that asks for it, on one connection that is kept for that. There is only
//! one, so that a disk that does not answer holds up one thread of the runtime and no more, and it waits for nobody's
//! lock.
//!
//! Whoever finds the connection taken leaves the look-up with the one who has it, and lets other tasks run meanwhile. The
//! holder, once it has its own answer, runs what was left with it (flat combining, Hendler et al., SPAA 2010). Each
//! look-up reads by itself, so that it sees whatever was committed before it was asked for. Where too many are in line,
//! where the holder does not come back, where the connection is closed or a look-up fails, one reads as everybody else
//! does, on a thread that may block.

use std::collections::VecDeque;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::prelude::Connection as _;
use diesel::result::QueryResult;
use diesel::sqlite::SqliteConnection;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::sql_echo;
use super::sqlite::Target;
use crate::config::PoolSettings;

/// The most look-ups in line, and the most that one holder runs for others before it goes on: a fraction of a millisecond.
const LINE: usize = 32;

/// How long a look-up waits in line: longer than those before it take, unless the disk does not answer.
const PATIENCE: Duration = Duration::from_millis(50);

/// Finds something by its key.
type LookUp<Key, Value> = fn(&mut SqliteConnection, &Key) -> QueryResult<Value>;

/// A look-up that was left with whoever has the connection. It tells who asked.
type Left = Box<dyn FnOnce(&mut Holder<'_>) + Send>;

/// The connection. Cheap to clone.
#[derive(Clone)]
pub(crate) struct InlineReads(Arc<Inner>);

struct Inner {
    target: Target,
    settings: PoolSettings,
    state: Mutex<State>,
}

struct State {
    slot: Slot,
    /// Empty unless the connection is taken.
    line: VecDeque<Left>,
}

/// What there is of the connection.
enum Slot {
    Closed,
    /// A thread that may block is opening it.
    Opening,
    Open(Box<Open>),
    /// A [`Holder`] has it.
    Taken,
}

struct Open {
    connection: SqliteConnection,
    since: Instant,
    last_used: Instant,
}

/// Whose turn it is.
enum Turn<'a, Value> {
    Ours(Holder<'a>),
    /// Somebody else's, who will tell.
    Theirs(oneshot::Receiver<Value>),
    Nobodys,
}

impl InlineReads {
    /// Prepares reading a file; the first look-up has it opened. What the settings say of the age of connections and of
    /// checks holds for this one, too.
    pub(super) fn new(target: Target, settings: PoolSettings) -> Self {
        Self(Arc::new(Inner {
            target,
            settings,
            state: Mutex::new(State {
                slot: Slot::Closed,
                line: VecDeque::with_capacity(LINE),
            }),
        }))
    }

    /// Runs a look-up, if that can be done soon and goes well. Whatever is wrong shows where it can be waited for.
    pub(crate) async fn get<Key, Value>(&self, key: &Key, look_up: LookUp<Key, Value>) -> Option<Value>
    where
        Key: Clone + Send + 'static,
        Value: Send + 'static,
    {
        let answer = match self.0.turn(key, look_up) {
            Turn::Ours(mut holder) => {
                let value = holder.run(key, look_up);
                holder.run_what_was_left();
                return value;
            }
            Turn::Theirs(answer) => answer,
            Turn::Nobodys => return None,
        };
        timeout(PATIENCE, answer).await.ok()?.ok()
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the connection if it is free, or else a place in line if there is one.
    fn turn<Key, Value>(self: &Arc<Self>, key: &Key, look_up: LookUp<Key, Value>) -> Turn<'_, Value>
    where
        Key: Clone + Send + 'static,
        Value: Send + 'static,
    {
        let now = Instant::now();
        let is_young =
            |open: &Open| now.saturating_duration_since(open.since) < self.settings.max_lifetime;
        let mut state = self.state();
        // Should there be no thread to open it, nobody waits for a holder that is not there.
        let (slot, turn) = match mem::replace(&mut state.slot, Slot::Opening) {
            Slot::Open(open) if is_young(&open) => {
                let holder = Holder {
                    inner: self,
                    open: Some(open),
                    now,
                    has_given_back: false,
                };
                (Slot::Taken, Turn::Ours(holder))
            }
            Slot::Open(old) => {
                self.open_soon(Some(old));
                (Slot::Opening, Turn::Nobodys)
            }
            Slot::Closed => {
                self.open_soon(None);
                (Slot::Opening, Turn::Nobodys)
            }
            Slot::Opening => (Slot::Opening, Turn::Nobodys),
            Slot::Taken if state.line.len() < LINE => {
                let (left, answer) = leave(key.clone(), look_up);
                state.line.push_back(left);
                (Slot::Taken, Turn::Theirs(answer))
            }
            Slot::Taken => (Slot::Taken, Turn::Nobodys),
        };
        state.slot = slot;
        turn
    }

    /// Has a thread that may block open the connection, and close an old one.
    fn open_soon(self: &Arc<Self>, old: Option<Box<Open>>) {
        let inner = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            drop(old);
            inner.open();
        });
    }

    fn open(&self) {
        let opened = self.target.open().map(|mut connection| {
            if self.target.echo_sql {
                connection.set_instrumentation(sql_echo);
            }
            let now = Instant::now();
            Slot::Open(Box::new(Open {
                connection,
                since: now,
                last_used: now,
            }))
        });
        let slot = opened.unwrap_or_else(|error| {
            tracing::debug!(%error, "no connection for look-ups");
            Slot::Closed
        });
        self.state().slot = slot;
    }
}

/// Makes of a look-up what can be left with somebody, and what hears of its answer.
fn leave<Key, Value>(key: Key, look_up: LookUp<Key, Value>) -> (Left, oneshot::Receiver<Value>)
where
    Key: Send + 'static,
    Value: Send + 'static,
{
    let (answer, answered) = oneshot::channel();
    let left = move |holder: &mut Holder<'_>| {
        // Whoever has gone away needs no answer.
        if !answer.is_closed()
            && let Some(value) = holder.run(&key, look_up)
        {
            let _ = answer.send(value);
        }
    };
    (Box::new(left), answered)
}

/// Who has the connection. It is given back whatever becomes of the holder.
struct Holder<'a> {
    inner: &'a Inner,
    /// None while a look-up runs, and after one that failed or panicked: nobody knows what it has left behind.
    open: Option<Box<Open>>,
    now: Instant,
    has_given_back: bool,
}

impl Holder<'_> {
    /// Checks the connection if it has been idle for so long, as those of a pool are, and runs a look-up.
    fn run<Key, Value>(&mut self, key: &Key, look_up: LookUp<Key, Value>) -> Option<Value> {
        let mut open = self.open.take()?;
        let idle = self.now.saturating_duration_since(open.last_used);
        let checked = if idle >= self.inner.settings.check_after_idle {
            open.connection.batch_execute("SELECT 1")
        } else {
            Ok(())
        };
        match checked.and_then(|()| look_up(&mut open.connection, key)) {
            Ok(value) => {
                open.last_used = self.now;
                self.open = Some(open);
                Some(value)
            }
            Err(error) => {
                tracing::debug!(%error, "reading once more on a thread that may block");
                None
            }
        }
    }

    /// Runs what others have left, and gives the connection back.
    fn run_what_was_left(mut self) {
        for _ in 0..LINE {
            let Some(left) = self.next() else {
                return;
            };
            // A panic is a matter of who asked, and comes again where that one reads next.
            let _ = catch_unwind(AssertUnwindSafe(|| left(&mut self)));
        }
    }

    /// Returns what is next in line. Where there is nothing the connection is given back, at the same moment: whoever
    /// comes next takes it.
    fn next(&mut self) -> Option<Left> {
        let mut state = self.inner.state();
        let next = self.open.as_ref().and_then(|_| state.line.pop_front());
        if next.is_none() {
            self.give_back(state);
        }
        next
    }

    fn give_back(&mut self, mut state: MutexGuard<'_, State>) {
        self.has_given_back = true;
        state.slot = self.open.take().map_or(Slot::Closed, Slot::Open);
        // They read as everybody else does.
        let line: Vec<Left> = state.line.drain(..).collect();
        drop(state);
        drop(line);
    }
}

impl Drop for Holder<'_> {
    fn drop(&mut self) {
        if !self.has_given_back {
            let state = self.inner.state();
            self.give_back(state);
        }
    }
}

#[cfg(test)]
mod tests;
