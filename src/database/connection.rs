//! What the pools need to know about a connection, whichever database it leads to.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::DatabaseError;
use super::pool::Lease;
use super::work::Work;

/// A connection to one of the two databases.
pub(crate) trait DatabaseConnection: Send + Sized + 'static {
    /// What a connection is made from: an address and how to treat it.
    type Target: Send + Sync + 'static;

    /// Opens a connection.
    fn connect(target: &Arc<Self::Target>) -> impl Future<Output = Result<Self, DatabaseError>> + Send;

    /// Asks the database for a sign of life.
    fn ping(&mut self) -> impl Future<Output = Result<(), DatabaseError>> + Send;

    /// Tells whether the connection is known to be closed, without asking the database.
    fn is_closed(&mut self) -> bool;

    /// Does work on a connection of a pool, for at most `limit`. Returns the connection, too, unless it is still in use.
    fn run(
        lease: Lease<Self>,
        limit: Duration,
        work: Work<Self>,
    ) -> impl Future<Output = (Option<Lease<Self>>, Result<(), DatabaseError>)> + Send;
}

/// A query: an `async fn` of a connection and its arguments, as the files under `queries/` define them.
///
/// It may be run more than once, so it has no effect outside the database.
pub(crate) trait Query<'r, C: 'r, A: 'r, R>: Fn(&'r mut C, &'r A) -> Self::Answer {
    /// The future that the function returns.
    type Answer: Future<Output = Result<R, DatabaseError>> + Send;
}

impl<'r, C: 'r, A: 'r, R, F, Answer> Query<'r, C, A, R> for F
where
    F: Fn(&'r mut C, &'r A) -> Answer,
    Answer: Future<Output = Result<R, DatabaseError>> + Send,
{
    type Answer = Answer;
}
