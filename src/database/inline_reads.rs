//! Look-ups in SQLite that run where they are asked for.
//!
//! SQLite finds a row by its key in less time than it takes to wake a thread, to wait for it, and to be woken again. So a
//! look-up runs on the thread of the runtime that asks for it, on one connection that is kept for that. There is only
//! one, so that a disk that does not answer holds up one thread of the runtime and no more, and it waits for nobody's
//! lock. Whoever finds it taken, closed or failing reads as everybody else does, on a thread that may block.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::prelude::Connection as _;
use diesel::result::QueryResult;
use diesel::sqlite::SqliteConnection;

use super::sql_echo;
use super::sqlite::Target;
use crate::config::PoolSettings;

/// The connection. Cheap to clone.
#[derive(Clone)]
pub(crate) struct InlineReads(Arc<Inner>);

struct Inner {
    target: Target,
    settings: PoolSettings,
    slot: Mutex<Slot>,
}

/// What there is of the connection.
enum Slot {
    Closed,
    /// A thread that may block is opening it.
    Opening,
    Open(Open),
}

struct Open {
    connection: SqliteConnection,
    since: Instant,
    last_used: Instant,
}

impl Open {
    /// Checks the connection if it has been idle for so long, as those of a pool are, and runs a look-up.
    fn look_up<Key, Value>(
        &mut self,
        check_after_idle: Duration,
        now: Instant,
        key: &Key,
        look_up: impl FnOnce(&mut SqliteConnection, &Key) -> QueryResult<Value>,
    ) -> QueryResult<Value> {
        if now.saturating_duration_since(self.last_used) >= check_after_idle {
            self.connection.batch_execute("SELECT 1")?;
        }
        let value = look_up(&mut self.connection, key)?;
        self.last_used = now;
        Ok(value)
    }
}

impl InlineReads {
    /// Prepares reading a file; the first look-up has it opened. What the settings say of the age of connections and of
    /// checks holds for this one, too.
    pub(super) fn new(target: Target, settings: PoolSettings) -> Self {
        Self(Arc::new(Inner {
            target,
            settings,
            slot: Mutex::new(Slot::Closed),
        }))
    }

    /// Runs a look-up, if that can be done at once and goes well. Whatever is wrong shows where it can be waited for.
    pub(crate) fn get<Key, Value>(
        &self,
        key: &Key,
        look_up: impl FnOnce(&mut SqliteConnection, &Key) -> QueryResult<Value>,
    ) -> Option<Value> {
        let mut slot = self.0.lock_soon()?;
        let now = Instant::now();
        let PoolSettings {
            max_lifetime,
            check_after_idle,
            ..
        } = self.0.settings;
        match &mut *slot {
            Slot::Open(open) if now.saturating_duration_since(open.since) < max_lifetime => {
                match open.look_up(check_after_idle, now, key, look_up) {
                    Ok(value) => return Some(value),
                    Err(error) => {
                        tracing::debug!(%error, "reading once more on a thread that may block");
                        *slot = Slot::Closed;
                    }
                }
            }
            Slot::Open(_) | Slot::Closed => {
                *slot = Slot::Opening;
                drop(slot);
                let inner = Arc::clone(&self.0);
                tokio::task::spawn_blocking(move || inner.open());
            }
            Slot::Opening => {}
        }
        None
    }
}

impl Inner {
    /// Returns the connection if it is free, or becomes so while another thread finishes a look-up.
    fn lock_soon(&self) -> Option<MutexGuard<'_, Slot>> {
        /// About as long as a look-up takes.
        const ATTEMPTS: usize = 300;
        for _ in 0..ATTEMPTS {
            match self.slot.try_lock() {
                Ok(slot) => return Some(slot),
                Err(TryLockError::WouldBlock) => std::hint::spin_loop(),
                Err(TryLockError::Poisoned(poisoned)) => {
                    // Nobody knows what a look-up that panicked has left behind.
                    *poisoned.into_inner() = Slot::Closed;
                    self.slot.clear_poison();
                    return None;
                }
            }
        }
        None
    }

    fn open(&self) {
        let opened = self.target.open().map(|mut connection| {
            if self.target.echo_sql {
                connection.set_instrumentation(sql_echo);
            }
            let now = Instant::now();
            Slot::Open(Open {
                connection,
                since: now,
                last_used: now,
            })
        });
        let slot = opened.unwrap_or_else(|error| {
            tracing::debug!(%error, "no connection for look-ups");
            Slot::Closed
        });
        *self.slot.lock().unwrap_or_else(PoisonError::into_inner) = slot;
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::{Arc, Barrier};
    use std::thread;
    use std::time::Duration;

    use diesel::connection::SimpleConnection;
    use diesel::prelude::{Connection, RunQueryDsl};
    use diesel::result::QueryResult;
    use diesel::sql_types::Integer;
    use diesel::sqlite::SqliteConnection;

    use super::super::sqlite::Target;
    use super::InlineReads;
    use crate::config::PoolSettings;

    const FOREVER: Duration = Duration::from_secs(3600);

    fn settings(max_lifetime: Duration) -> PoolSettings {
        PoolSettings {
            min_idle: 0,
            max_size: 1,
            max_lifetime,
            idle_timeout: FOREVER,
            check_after_idle: FOREVER,
            acquire_timeout: FOREVER,
            connect_timeout: FOREVER,
        }
    }

    fn target(folder: &tempfile::TempDir) -> Target {
        let path: PathBuf = folder.path().join("inline.db");
        let mut connection =
            SqliteConnection::establish(path.to_str().expect("a path")).expect("a file");
        connection
            .batch_execute(
                "PRAGMA journal_mode = WAL;
                 CREATE TABLE IF NOT EXISTS numbers (value INTEGER NOT NULL);
                 INSERT INTO numbers VALUES (7);",
            )
            .expect("a table");
        Target {
            path,
            busy_timeout: Duration::ZERO,
            is_writer: false,
            echo_sql: false,
        }
    }

    fn number(connection: &mut SqliteConnection, _: &()) -> QueryResult<i32> {
        let select = diesel::dsl::sql::<Integer>("SELECT value FROM numbers");
        select.get_result(connection)
    }

    fn failing(_: &mut SqliteConnection, _: &()) -> QueryResult<i32> {
        Err(diesel::result::Error::NotFound)
    }

    /// Asks until the connection is open.
    fn until_open(reads: &InlineReads) -> i32 {
        loop {
            if let Some(number) = reads.get(&(), number) {
                return number;
            }
            thread::yield_now();
        }
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime")
    }

    #[test]
    fn it_opens_by_itself_and_again_after_a_failure_or_when_it_is_old() {
        let runtime = runtime();
        let _entered = runtime.enter();
        let folder = tempfile::tempdir().expect("a folder");
        let reads = InlineReads::new(target(&folder), settings(FOREVER));
        assert_eq!(reads.get(&(), number), None);
        assert_eq!(until_open(&reads), 7);
        assert_eq!(reads.get(&(), failing), None);
        assert_eq!(reads.get(&(), number), None);
        assert_eq!(until_open(&reads), 7);

        let short_lived = InlineReads::new(target(&folder), settings(Duration::ZERO));
        for _ in 0..100 {
            assert_eq!(short_lived.get(&(), number), None);
        }
    }

    #[test]
    fn whoever_finds_it_taken_does_not_wait() {
        let runtime = runtime();
        let _entered = runtime.enter();
        let folder = tempfile::tempdir().expect("a folder");
        let reads = InlineReads::new(target(&folder), settings(FOREVER));
        until_open(&reads);
        let (begun, goes_on) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
        let slow = thread::spawn({
            let (reads, begun, goes_on) = (reads.clone(), Arc::clone(&begun), Arc::clone(&goes_on));
            move || {
                reads.get(&(), |_, ()| {
                    begun.wait();
                    goes_on.wait();
                    Ok(1)
                })
            }
        });
        begun.wait();
        assert_eq!(reads.get(&(), number), None);
        goes_on.wait();
        assert_eq!(slow.join().expect("no panic"), Some(1));
        assert_eq!(reads.get(&(), number), Some(7));
    }

    #[test]
    fn whoever_writes_is_not_waited_for() {
        let runtime = runtime();
        let _entered = runtime.enter();
        let folder = tempfile::tempdir().expect("a folder");
        let target = target(&folder);
        let path = target.path.to_str().expect("a path").to_owned();
        let reads = InlineReads::new(target, settings(FOREVER));
        until_open(&reads);
        let mut writer = SqliteConnection::establish(&path).expect("a file");
        writer
            .batch_execute("BEGIN EXCLUSIVE; UPDATE numbers SET value = 8;")
            .expect("a lock");
        assert_eq!(reads.get(&(), number), Some(7));
        writer.batch_execute("COMMIT").expect("a commit");
        assert_eq!(reads.get(&(), number), Some(8));
    }

    #[test]
    fn a_look_up_that_panics_leaves_no_connection_behind() {
        let runtime = runtime();
        let _entered = runtime.enter();
        let folder = tempfile::tempdir().expect("a folder");
        let reads = InlineReads::new(target(&folder), settings(FOREVER));
        until_open(&reads);
        let panicking = reads.clone();
        let panicked = thread::spawn(move || {
            panicking.get(&(), |_, ()| -> QueryResult<i32> { panic!("a look-up panics") })
        });
        assert!(panicked.join().is_err());
        assert_eq!(reads.get(&(), number), None);
        assert_eq!(until_open(&reads), 7);
    }
}
