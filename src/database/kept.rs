//! Statements that connections keep prepared.
//!
//! Diesel has a statement prepared anew every time if its text may be another one the next time, and takes every update for
//! one of those, and all that is written by hand. PostgreSQL is asked once more for each of them then, and makes a plan for
//! it; SQLite compiles it. Those whose text is always the same are kept like all others, by their text.

use diesel::backend::Backend;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::QueryResult;

/// A statement that is kept.
pub(super) struct Kept<Statement>(Statement);

/// Has a statement kept.
pub(super) trait Keep: Sized {
    /// Says that the text of the statement does not depend on its values: connections keep as many as there are texts.
    fn kept(self) -> Kept<Self> {
        Kept(self)
    }
}

impl<Statement> Keep for Statement {}

impl<Statement: Query> Query for Kept<Statement> {
    type SqlType = Statement::SqlType;
}

impl<Statement> QueryId for Kept<Statement> {
    type QueryId = ();

    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<DB: Backend, Statement: QueryFragment<DB>> QueryFragment<DB> for Kept<Statement> {
    fn walk_ast<'b>(&'b self, pass: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        self.0.walk_ast(pass)
    }

    fn is_safe_to_cache_prepared(&self, _backend: &DB) -> QueryResult<bool> {
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use diesel::connection::{InstrumentationEvent, SimpleConnection};
    use diesel::prelude::{Connection as _, ExpressionMethods, QueryDsl};
    use diesel::sqlite::SqliteConnection;
    use diesel_async::RunQueryDsl;

    use super::Keep;
    use crate::database::sqlite::Connection;

    diesel::table! {
        numbers (id) {
            id -> Integer,
            number -> Integer,
        }
    }

    /// Opens a database, and counts the statements that its connection keeps.
    fn connection() -> (Connection, Arc<AtomicUsize>) {
        let mut connection = SqliteConnection::establish(":memory:").unwrap();
        connection
            .batch_execute(
                "CREATE TABLE numbers (id INTEGER NOT NULL PRIMARY KEY, number INTEGER NOT NULL);
                 INSERT INTO numbers VALUES (1, 0), (2, 0)",
            )
            .unwrap();
        let kept = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&kept);
        connection.set_instrumentation(move |event: InstrumentationEvent<'_>| {
            if matches!(event, InstrumentationEvent::CacheQuery { .. }) {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        });
        (Connection::new(connection), kept)
    }

    #[tokio::test]
    async fn it_is_prepared_once_and_has_the_values_of_each_time() {
        let (mut connection, kept) = connection();
        for (id, number) in [(1, 5), (2, 6), (1, 7)] {
            let update = diesel::update(numbers::table.find(id)).set(numbers::number.eq(number));
            assert_eq!(update.kept().execute(&mut connection).await, Ok(1));
        }
        assert_eq!(AtomicUsize::load(&kept, Ordering::Relaxed), 1);
        let numbers = numbers::table.order(numbers::id).select(numbers::number);
        let stored: Vec<i32> = numbers.load(&mut connection).await.unwrap();
        assert_eq!(stored, [7, 6]);
    }

    #[tokio::test]
    async fn others_are_not_kept() {
        let (mut connection, kept) = connection();
        let update = diesel::update(numbers::table.find(1)).set(numbers::number.eq(5));
        assert_eq!(update.execute(&mut connection).await, Ok(1));
        assert_eq!(AtomicUsize::load(&kept, Ordering::Relaxed), 0);
    }
}
