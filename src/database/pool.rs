//! A pool of connections: bb8 behind a fair queue.
//!
//! bb8 hands a returned connection to whoever asks first, which is unfair when the pool is saturated; a FIFO
//! semaphore in front lets exactly as many callers in as there can be connections. A connection is checked
//! before use only when it has been idle for a moment: a check on every use would cost a round trip a call.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bb8::{ErrorSink, ManageConnection};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::connection::DatabaseConnection;
use super::{DatabaseError, PoolStatus};
use crate::config::PoolSettings;

/// How long a connection waits for others to be opened before it. One that is opened on the same machine takes less.
const OPENING_PATIENCE: Duration = Duration::from_millis(20);

/// A pool of connections to one database.
pub(crate) struct Pool<C: DatabaseConnection> {
    name: &'static str,
    connections: bb8::Pool<Manager<C>>,
    queue: Arc<Semaphore>,
    waiting: Arc<AtomicU32>,
    settings: PoolSettings,
}

impl<C: DatabaseConnection> Clone for Pool<C> {
    fn clone(&self) -> Self {
        Self {
            name: self.name,
            connections: self.connections.clone(),
            queue: Arc::clone(&self.queue),
            waiting: Arc::clone(&self.waiting),
            settings: self.settings,
        }
    }
}

impl<C: DatabaseConnection> Pool<C> {
    /// Makes a pool. Connections are opened in the background, and again whenever they are lost.
    pub(crate) fn new(name: &'static str, target: Arc<C::Target>, settings: PoolSettings) -> Self {
        /// How often connections are looked at for having grown too old or having been idle for too long;
        /// both limits are kept to within this, or within a quarter of the limit where that is shorter.
        const REAPER_PERIOD: Duration = Duration::from_secs(30);
        let limit_quarter = settings.max_lifetime.min(settings.idle_timeout) / 4;
        let connections = bb8::Pool::builder()
            .max_size(settings.max_size)
            .min_idle(settings.min_idle.min(settings.max_size))
            .max_lifetime(settings.max_lifetime)
            .idle_timeout(settings.idle_timeout)
            .reaper_rate(REAPER_PERIOD.min(limit_quarter))
            .connection_timeout(settings.connect_timeout)
            // Those used last know their statements and have their pages; the others may grow old.
            .queue_strategy(bb8::QueueStrategy::Lifo)
            .test_on_check_out(true)
            .error_sink(Box::new(LogErrors(name)))
            .build_unchecked(Manager::<C> {
                target,
                settings,
                opening: Mutex::new(()),
                patience: OPENING_PATIENCE,
            });
        Self {
            name,
            connections,
            queue: Arc::new(Semaphore::new(places(settings.max_size))),
            waiting: Arc::default(),
            settings,
        }
    }

    /// Waits for a connection, in the order of the callers, for at most the acquire timeout.
    pub(crate) async fn acquire(&self) -> Result<Lease<C>, DatabaseError> {
        let _waiting = self.waiting();
        self.acquire_uncounted().await
    }

    /// Does the same for calls that count as waiting already.
    pub(super) async fn acquire_uncounted(&self) -> Result<Lease<C>, DatabaseError> {
        let deadline = Instant::now() + self.settings.acquire_timeout;
        let no_connection =
            |_| DatabaseError::Unavailable("no connection became free in time".to_owned());
        let turn = timeout_at(deadline, Arc::clone(&self.queue).acquire_owned())
            .await
            .map_err(no_connection)?
            .map_err(|_| DatabaseError::Unavailable("the pool is closed".to_owned()))?;
        let connection = timeout_at(deadline, self.connections.get_owned())
            .await
            .map_err(no_connection)?
            .map_err(|error| match error {
                bb8::RunError::User(error) => error,
                bb8::RunError::TimedOut => {
                    DatabaseError::Unavailable("no connection could be opened in time".to_owned())
                }
            })?;
        Ok(Lease {
            connection,
            _turn: turn,
        })
    }

    /// Returns a function that tells whether a connection is on loan, or about to be. It does not keep the pool.
    pub(super) fn loans(&self) -> impl Fn() -> bool + Send + Sync + use<C> {
        let (queue, connections) = (Arc::clone(&self.queue), self.settings.max_size);
        move || queue.available_permits() < places(connections)
    }

    /// Counts a call as waiting for a connection of this pool.
    pub(super) fn waiting(&self) -> Waiting {
        Waiting::enter(&self.waiting)
    }

    /// Returns how long a call waits for a connection.
    pub(super) const fn patience(&self) -> Duration {
        self.settings.acquire_timeout
    }

    /// Tells how the pool is doing.
    pub(crate) fn status(&self) -> PoolStatus {
        let state = self.connections.state();
        PoolStatus {
            name: self.name,
            max_size: self.settings.max_size,
            size: state.connections,
            idle: state.idle_connections,
            waiting: self.waiting.load(Ordering::Relaxed),
        }
    }
}

/// Returns how many callers there is a connection for.
fn places(connections: u32) -> usize {
    usize::try_from(connections).unwrap_or(usize::MAX)
}

/// Counts a caller as waiting until dropped.
pub(super) struct Waiting(Arc<AtomicU32>);

impl Waiting {
    fn enter(counter: &Arc<AtomicU32>) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(counter))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection on loan from the pool. The place in the queue is given up after the connection.
pub(crate) struct Lease<C: DatabaseConnection> {
    connection: bb8::PooledConnection<'static, Manager<C>>,
    _turn: OwnedSemaphorePermit,
}

impl<C: DatabaseConnection> Lease<C> {
    /// Returns the connection.
    pub(crate) fn connection(&mut self) -> &mut C {
        &mut self.connection.connection
    }

    /// Marks the connection as unusable from here on. Unless it is marked usable again, for instance
    /// because the caller's future was dropped in between, it is closed instead of going back.
    pub(crate) fn mark_busy(&mut self) {
        self.connection.is_busy = true;
    }

    /// Marks the connection as usable: nothing is under way on it.
    pub(crate) fn mark_ready(&mut self) {
        self.connection.is_busy = false;
    }
}

/// A connection and what the pool remembers about it.
pub(crate) struct Tracked<C> {
    connection: C,
    last_used: Instant,
    is_busy: bool,
}

struct Manager<C: DatabaseConnection> {
    target: Arc<C::Target>,
    settings: PoolSettings,
    /// Held while a connection is opened.
    opening: Mutex<()>,
    patience: Duration,
}

impl<C: DatabaseConnection> Manager<C> {
    /// Opens a connection, after those that are being opened already unless they take long: opened at once they are in
    /// each other's way, and the first of them, for which somebody may wait, comes as late as the last.
    async fn open(&self) -> Result<C, DatabaseError> {
        let _turn = timeout(self.patience, self.opening.lock()).await;
        C::connect(&self.target).await
    }
}

impl<C: DatabaseConnection> ManageConnection for Manager<C> {
    type Connection = Tracked<C>;
    type Error = DatabaseError;

    /// Tries for as long as connecting may take. bb8 would try again, too, but after pauses that grow to
    /// seconds, during which a database that is back is not used.
    async fn connect(&self) -> Result<Tracked<C>, DatabaseError> {
        /// How soon a database that does not take connections is asked again.
        const PAUSE: Duration = Duration::from_millis(200);
        let patience_ends = Instant::now() + self.settings.connect_timeout;
        loop {
            let attempt = timeout_at(patience_ends, self.open())
                .await
                .map_err(|_| DatabaseError::Unavailable("connecting took too long".to_owned()))?;
            match attempt {
                Ok(connection) => {
                    return Ok(Tracked {
                        connection,
                        last_used: Instant::now(),
                        is_busy: false,
                    });
                }
                Err(error) if Instant::now() + PAUSE < patience_ends => {
                    tracing::debug!(%error, "connecting again");
                    sleep(PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn is_valid(&self, tracked: &mut Tracked<C>) -> Result<(), DatabaseError> {
        if tracked.connection.is_closed() {
            return Err(DatabaseError::Unavailable(
                "connection closed while idle".to_owned(),
            ));
        }
        if tracked.last_used.elapsed() >= self.settings.check_after_idle {
            // A caller that gives up during the check must not put an unchecked connection back.
            tracked.is_busy = true;
            timeout(self.settings.check_timeout(), tracked.connection.ping())
                .await
                .map_err(|_| DatabaseError::Unavailable("an idle connection is dead".to_owned()))??;
            tracked.is_busy = false;
        }
        Ok(())
    }

    fn has_broken(&self, tracked: &mut Tracked<C>) -> bool {
        tracked.last_used = Instant::now();
        tracked.is_busy || tracked.connection.is_closed()
    }
}

/// Logs what goes wrong while connections are opened and checked in the background: an outage means a line
/// for every connection every moment, so it is the health that tells operators about it.
#[derive(Clone, Copy)]
struct LogErrors(&'static str);

impl fmt::Debug for LogErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl ErrorSink<DatabaseError> for LogErrors {
    fn sink(&self, error: DatabaseError) {
        tracing::debug!(pool = self.0, %error, "database connection lost or not opened");
    }

    fn boxed_clone(&self) -> Box<dyn ErrorSink<DatabaseError>> {
        Box::new(*self)
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use futures_util::future::join_all;
    use tokio::sync::Mutex;
    use tokio::task::yield_now;

    use super::{DatabaseConnection, DatabaseError, Lease, Manager, OPENING_PATIENCE};
    use crate::config::PoolSettings;
    use crate::database::work::Work;

    const FOREVER: Duration = Duration::from_secs(3600);

    /// A connection that leads nowhere: what is looked at is how it is opened.
    struct Opened;

    #[derive(Default)]
    struct Openings {
        begun: AtomicU32,
        under_way: AtomicU32,
        most: AtomicU32,
        does_first_hang: bool,
    }

    impl DatabaseConnection for Opened {
        type Target = Openings;

        async fn connect(target: &Arc<Openings>) -> Result<Self, DatabaseError> {
            if target.begun.fetch_add(1, Ordering::Relaxed) == 0 && target.does_first_hang {
                pending::<()>().await;
            }
            let under_way = target.under_way.fetch_add(1, Ordering::Relaxed) + 1;
            target.most.fetch_max(under_way, Ordering::Relaxed);
            yield_now().await;
            target.under_way.fetch_sub(1, Ordering::Relaxed);
            Ok(Self)
        }

        async fn ping(&mut self) -> Result<(), DatabaseError> {
            Ok(())
        }

        fn is_closed(&mut self) -> bool {
            false
        }

        async fn run(
            lease: Lease<Self>,
            _: Duration,
            _: Work<Self>,
        ) -> (Option<Lease<Self>>, Result<(), DatabaseError>) {
            (Some(lease), Ok(()))
        }
    }

    fn manager(openings: Openings, patience: Duration) -> Manager<Opened> {
        Manager {
            target: Arc::new(openings),
            settings: PoolSettings {
                min_idle: 0,
                max_size: 1,
                max_lifetime: FOREVER,
                idle_timeout: FOREVER,
                check_after_idle: FOREVER,
                acquire_timeout: FOREVER,
                connect_timeout: FOREVER,
            },
            opening: Mutex::new(()),
            patience,
        }
    }

    #[tokio::test]
    async fn connections_are_opened_one_after_the_other() {
        let manager = manager(Openings::default(), FOREVER);
        let opened = join_all((0..5).map(|_| manager.open())).await;
        assert!(opened.iter().all(Result::is_ok));
        assert_eq!(manager.target.most.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_connection_that_hangs_holds_up_nobody() {
        let openings = Openings {
            does_first_hang: true,
            ..Openings::default()
        };
        let manager = manager(openings, OPENING_PATIENCE);
        tokio::select! {
            biased;
            _ = manager.open() => panic!("the first one hangs"),
            opened = manager.open() => assert!(opened.is_ok()),
        }
    }
}
