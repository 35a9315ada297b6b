//! Queries by name: each is run on the database at hand, as it is written for that.

/// Runs a query that only reads: `read!(database, users::get_by_id, id)`.
macro_rules! read {
    ($database:expr, $module:ident :: $query:ident, $arguments:expr) => {{
        let arguments = $arguments;
        match &$database.backend {
            $crate::database::Backend::Postgres(database) => {
                let query = $crate::database::postgres::queries::$module::$query;
                database.read(query, arguments).await
            }
            $crate::database::Backend::Sqlite(database) => {
                let query = $crate::database::sqlite::queries::$module::$query;
                database.read(query, arguments).await
            }
        }
    }};
}
pub(crate) use read;

/// Reads one thing by its key: on SQLite inline if possible, otherwise with a query that is shared with others who read
/// such things at the same moment:
/// `shared_read!(database, users_by_id, id)`.
macro_rules! shared_read {
    ($database:expr, $reads:ident, $key:expr) => {{
        let key = $key;
        match &$database.backend {
            $crate::database::Backend::Postgres(database) => {
                let this = ::std::sync::Arc::clone(database);
                let query = move |keys| {
                    let database = ::std::sync::Arc::clone(&this);
                    async move {
                        database
                            .read($crate::database::many::postgres::$reads, keys)
                            .await
                    }
                };
                database.shared_reads.$reads.get(key, query).await
            }
            $crate::database::Backend::Sqlite(database) => {
                let inline = $crate::database::many::sqlite::one::$reads;
                if let Some(found) = database.inline_reads.get(&key, inline).await {
                    Ok(found)
                } else {
                    let this = ::std::sync::Arc::clone(database);
                    let query = move |keys| {
                        let database = ::std::sync::Arc::clone(&this);
                        async move { database.read($crate::database::many::sqlite::$reads, keys).await }
                    };
                    database.shared_reads.$reads.get(key, query).await
                }
            }
        }
    }};
}
pub(crate) use shared_read;

/// Runs a query that only reads on the primary, whether there is a replica or not, because it is about the transactions
/// that run there: `read_primary!(database, user_events::window_after, from)`.
macro_rules! read_primary {
    ($database:expr, $module:ident :: $query:ident, $arguments:expr) => {{
        let arguments = $arguments;
        match &$database.backend {
            $crate::database::Backend::Postgres(database) => {
                let query = $crate::database::postgres::queries::$module::$query;
                database.read_primary(query, arguments).await
            }
            $crate::database::Backend::Sqlite(database) => {
                let query = $crate::database::sqlite::queries::$module::$query;
                database.read_primary(query, arguments).await
            }
        }
    }};
}
pub(crate) use read_primary;

/// Runs a query in a transaction of the same name: `transaction!(database, users::create, user)`.
///
/// Once it has begun it runs to its end, whatever becomes of the caller.
macro_rules! transaction {
    ($database:expr, $module:ident :: $query:ident, $arguments:expr) => {{
        let arguments = ::std::sync::Arc::new($arguments);
        const NAME: &str = concat!(stringify!($module), "::", stringify!($query));
        match &$database.backend {
            $crate::database::Backend::Postgres(database) => {
                let query = $crate::database::postgres::queries::$module::$query;
                let (work, answer) = $crate::database::work::work(query, arguments);
                database.commit(NAME, work).await.and_then(|()| answer.take())
            }
            $crate::database::Backend::Sqlite(database) => {
                let query = $crate::database::sqlite::queries::$module::$query;
                let (work, answer) = $crate::database::work::work(query, arguments);
                database.commit(NAME, work).await.and_then(|()| answer.take())
            }
        }
    }};
}
pub(crate) use transaction;
