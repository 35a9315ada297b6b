//! SQL typed by hand, past the service.

use diesel::connection::SimpleConnection;
use diesel::sql_types::{Nullable, Text};
use diesel::{Connection, QueryableByName, RunQueryDsl, SqliteConnection};
use tokio::task::spawn_blocking;
use tokio_postgres::{NoTls, SimpleQueryMessage};

/// A row of a query on PostgreSQL: every column as text.
pub type TextRow = Vec<Option<String>>;

#[derive(QueryableByName)]
struct ValueRow {
    #[diesel(sql_type = Nullable<Text>)]
    value: Option<String>,
}

/// Executes statements on an SQLite database.
pub async fn execute_on_sqlite(url: &str, statements: &str) -> Result<(), String> {
    let statements = statements.to_owned();
    on_sqlite(url, move |connection| connection.batch_execute(&statements)).await
}

/// Returns the column `value` of a query on an SQLite database.
pub async fn query_sqlite(url: &str, query: &str) -> Result<Vec<Option<String>>, String> {
    let query = query.to_owned();
    let rows: Vec<ValueRow> =
        on_sqlite(url, move |connection| diesel::sql_query(query).load(connection)).await?;
    Ok(rows.into_iter().map(|row| row.value).collect())
}

async fn on_sqlite<T: Send + 'static>(
    url: &str,
    action: impl FnOnce(&mut SqliteConnection) -> diesel::QueryResult<T> + Send + 'static,
) -> Result<T, String> {
    let path = url.strip_prefix("sqlite://").unwrap().to_owned();
    let outcome = spawn_blocking(move || {
        let mut connection = SqliteConnection::establish(&path).map_err(|error| error.to_string())?;
        connection
            .batch_execute("PRAGMA busy_timeout = 5000; PRAGMA foreign_keys = ON;")
            .and_then(|()| action(&mut connection))
            .map_err(|error| error.to_string())
    });
    outcome.await.unwrap()
}

/// Executes statements on PostgreSQL and returns the rows of all of them.
pub async fn query_postgres(url: &str, statements: &str) -> Result<Vec<TextRow>, String> {
    let (client, connection) = tokio_postgres::connect(url, NoTls)
        .await
        .map_err(|error| postgres_error_text(&error))?;
    let connection = tokio::spawn(connection);
    let messages = client
        .simple_query(statements)
        .await
        .map_err(|error| postgres_error_text(&error))?;
    drop(client);
    // A database cannot be dropped or copied before the last connection to it is closed.
    let _ = connection.await;
    Ok(messages.iter().filter_map(text_row).collect())
}

fn text_row(message: &SimpleQueryMessage) -> Option<TextRow> {
    let SimpleQueryMessage::Row(row) = message else {
        return None;
    };
    Some(
        (0..row.len())
            .map(|index| row.get(index).map(str::to_owned))
            .collect(),
    )
}

fn postgres_error_text(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(database) => format!(
            "{} {database} {}",
            database.code().code(),
            database.constraint().unwrap_or_default()
        ),
        None => format!("{error:?}"),
    }
}
