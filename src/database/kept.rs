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

    use chrono::{DateTime, TimeDelta};
    use diesel::connection::{InstrumentationEvent, SimpleConnection};
    use diesel::pg::Pg;
    use diesel::prelude::{Connection as _, ExpressionMethods, QueryDsl};
    use diesel::sqlite::SqliteConnection;
    use diesel_async::RunQueryDsl;

    use super::{Keep, QueryFragment};
    use crate::database::rows::{LoginAttemptRow, RefreshTokenRow, SessionRow};
    use crate::database::schema::{login_attempts, refresh_tokens, sessions};
    use crate::database::sqlite::Connection;
    use crate::domain::{
        Client, ClientId, NewLoginAttempt, NewRefreshToken, Session, SessionPolicy, SignInMethod, UserId,
    };

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

    /// On PostgreSQL, too, and so are the rows of a sign-in, with their optional columns.
    #[test]
    fn it_is_kept_on_postgres() {
        fn is_kept(statement: &impl QueryFragment<Pg>) -> bool {
            statement.is_safe_to_cache_prepared(&Pg).unwrap()
        }
        let now = DateTime::UNIX_EPOCH;
        let client = Client {
            ip_address: None,
            user_agent: None,
            client_id: ClientId::default(),
        };
        let policy = SessionPolicy {
            lifetime: TimeDelta::days(30),
            idle_lifetime: TimeDelta::days(14),
            max_per_user: 1,
        };
        let user_id = UserId::generate(now);
        let session = Session::begin(user_id, SignInMethod::Password, client.clone(), policy, now);
        let session_row = SessionRow::from(&session);
        let token_row = RefreshTokenRow::from(&NewRefreshToken {
            session,
            token_hash: [0; 32],
            client: client.clone(),
            created_at: now,
        });
        let attempt_row = LoginAttemptRow::from(&NewLoginAttempt {
            user_id: None,
            identifier: None,
            client,
            method: SignInMethod::Password,
            failure: None,
            attempted_at: now,
        });

        let update = diesel::update(numbers::table.find(1)).set(numbers::number.eq(5));
        assert!(!is_kept(&update) && is_kept(&update.kept()));
        assert!(is_kept(&diesel::insert_into(sessions::table).values(session_row)));
        assert!(is_kept(
            &diesel::insert_into(refresh_tokens::table).values(token_row)
        ));
        assert!(is_kept(
            &diesel::insert_into(login_attempts::table).values(attempt_row)
        ));
    }

    #[tokio::test]
    async fn others_are_not_kept() {
        let (mut connection, kept) = connection();
        let update = diesel::update(numbers::table.find(1)).set(numbers::number.eq(5));
        assert_eq!(update.execute(&mut connection).await, Ok(1));
        assert_eq!(AtomicUsize::load(&kept, Ordering::Relaxed), 0);
    }
}
