//! A query as those see it who run it.
//!
//! A pool, a transaction and a shared commit have nothing to do with what a query asks and what it answers. They are given
//! work, which is of one type whichever query it is, so that they are compiled once and not for every query: a seventh of
//! the program would be copies of them otherwise.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;

use super::DatabaseError;
use super::connection::Query;

/// A query with its arguments. It may be run more than once.
pub(crate) type Work<C> =
    Arc<dyn for<'r> Fn(&'r mut C) -> BoxFuture<'r, Result<(), DatabaseError>> + Send + Sync>;

/// What the query answered when its work was done last.
pub(crate) struct Answer<R>(Arc<Mutex<Option<R>>>);

impl<R> Answer<R> {
    /// Returns the answer of work that is done.
    pub(crate) fn take(&self) -> Result<R, DatabaseError> {
        let answer = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        answer.ok_or_else(|| DatabaseError::Internal("a query without an answer".to_owned()))
    }
}

/// Makes work of a query, and tells where its answer will be.
pub(crate) fn work<C, A, R, Q>(query: Q, arguments: Arc<A>) -> (Work<C>, Answer<R>)
where
    C: Send + 'static,
    A: Send + Sync + 'static,
    R: Send + 'static,
    Q: for<'r> Query<'r, C, A, R> + Copy + Send + Sync + 'static,
{
    let answer = Answer(Arc::new(Mutex::new(None)));
    let place = Arc::clone(&answer.0);
    let work: Work<C> = Arc::new(move |connection| {
        let (arguments, place) = (Arc::clone(&arguments), Arc::clone(&place));
        Box::pin(async move {
            let found = query(connection, &arguments).await?;
            *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
            Ok(())
        })
    });
    (work, answer)
}
