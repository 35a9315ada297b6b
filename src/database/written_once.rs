//! Queries whose SQL is written once.
//!
//! diesel-async writes the SQL of a query every time that it is sent, also where the connection has prepared it already,
//! and a second time if it contains a list, to find the prepared statement by it. Each name in it takes an allocation: for
//! a session, its user and the key of a token there are eighty of them. What many calls read is therefore written when it
//! is sent first, copied from then on, and found by its name.

use std::marker::PhantomData;
use std::sync::OnceLock;

use diesel::pg::{Pg, PgQueryBuilder};
use diesel::query_builder::{AstPass, Query, QueryBuilder, QueryFragment, QueryId};
use diesel::result::QueryResult;

/// The name of a query of which only the values differ from one time to the next. Two queries never share one.
pub(super) trait Name: 'static {
    /// Returns where its SQL is kept.
    fn sql() -> &'static OnceLock<String>;
}

/// Declares names.
macro_rules! names {
    ($($name:ident),+ $(,)?) => {
        $(
            struct $name;

            impl $crate::database::written_once::Name for $name {
                fn sql() -> &'static ::std::sync::OnceLock<String> {
                    static SQL: ::std::sync::OnceLock<String> = ::std::sync::OnceLock::new();
                    &SQL
                }
            }
        )+
    };
}
pub(super) use names;

/// A query of PostgreSQL with a name.
pub(super) struct WrittenOnce<N, Inner> {
    query: Inner,
    name: PhantomData<N>,
}

impl<N: Name, Inner> WrittenOnce<N, Inner> {
    pub(super) const fn new(query: Inner) -> Self {
        Self {
            query,
            name: PhantomData,
        }
    }
}

impl<N, Inner: Query> Query for WrittenOnce<N, Inner> {
    type SqlType = Inner::SqlType;
}

impl<N: Name, Inner> QueryId for WrittenOnce<N, Inner> {
    type QueryId = N;

    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<N: Name, Inner: QueryFragment<Pg>> WrittenOnce<N, Inner> {
    fn write(&self, backend: &Pg) -> QueryResult<String> {
        let mut written = PgQueryBuilder::new();
        self.query.to_sql(&mut written, backend)?;
        Ok(written.finish())
    }
}

impl<N: Name, Inner: QueryFragment<Pg>> QueryFragment<Pg> for WrittenOnce<N, Inner> {
    fn walk_ast<'b>(&'b self, pass: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.query.walk_ast(pass)
    }

    fn to_sql(&self, out: &mut PgQueryBuilder, backend: &Pg) -> QueryResult<()> {
        let sql = match N::sql().get() {
            Some(sql) => sql,
            None => {
                let written = self.write(backend)?;
                N::sql().get_or_init(|| written)
            }
        };
        debug_assert_eq!(*sql, self.write(backend)?, "the SQL of a query differs");
        out.push_sql(sql);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use diesel::pg::{Pg, PgQueryBuilder};
    use diesel::prelude::{ExpressionMethods, QueryDsl};
    use diesel::query_builder::{QueryBuilder, QueryFragment};

    use super::WrittenOnce;
    use crate::database::schema::users;

    names!(ByUsername, ByEither);

    #[test]
    fn the_sql_is_that_of_the_query_and_the_values_are_those_of_each() {
        for username in ["ada", "grace"] {
            let query = users::table
                .filter(users::username_normalized.eq_any([username]))
                .select(users::username);
            let expected = diesel::debug_query::<Pg, _>(&query).to_string();
            let written = WrittenOnce::<ByUsername, _>::new(query);
            assert_eq!(diesel::debug_query::<Pg, _>(&written).to_string(), expected);
            assert!(expected.contains(username), "{expected}");
        }
    }

    #[test]
    #[should_panic(expected = "the SQL of a query differs")]
    fn a_name_is_that_of_one_query() {
        let write = |query: &dyn QueryFragment<Pg>| {
            let mut builder = PgQueryBuilder::new();
            query.to_sql(&mut builder, &Pg).expect("SQL");
            builder.finish()
        };
        let names = users::table.select(users::username);
        let addresses = users::table.select(users::email);
        write(&WrittenOnce::<ByEither, _>::new(names));
        write(&WrittenOnce::<ByEither, _>::new(addresses));
    }
}
