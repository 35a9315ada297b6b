//! How the database carries out the statements that the service really sends.

use diesel::sql_types::Text;
use diesel::{Connection, QueryableByName, RunQueryDsl, SqliteConnection};

use crate::support::{Backend, Process, Test};

/// Starts the program with the SQL echo on: its log then has every statement, without values.
pub async fn spawn_with_echo(t: &Test, variables: &[(&str, &str)]) -> Process {
    let echo = [
        ("IDENTITY_DATABASE_ECHO", "on"),
        ("IDENTITY_LOG", "info"),
        ("IDENTITY_LOG_FORMAT", "json"),
    ];
    let mut process = t.spawn(&[variables, &echo].concat(), &["serve"]);
    process.wait_until_serving().await;
    process
}

/// Returns the statements that the process has echoed so far.
pub fn echoed_statements(process: &Process) -> Vec<String> {
    process
        .stderr()
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .filter(|event: &serde_json::Value| event["target"] == "identity::sql")
        .map(|event| event["fields"]["statement"].as_str().unwrap().to_owned())
        .collect()
}

/// Returns the plan of the last statement on users that the process sent. `arguments` are the values of its
/// parameters as SQL, which PostgreSQL plans by and SQLite does not.
pub async fn plan_of_last_read(t: &Test, process: &Process, arguments: &str) -> String {
    plan_of_last_read_of(t, process, "users", arguments).await
}

/// Returns the plan of the last statement on a table.
pub async fn plan_of_last_read_of(t: &Test, process: &Process, table: &str, arguments: &str) -> String {
    let froms = [format!("FROM \"{table}\""), format!("FROM `{table}`")];
    let statement = echoed_statements(process)
        .into_iter()
        .rfind(|statement| froms.iter().any(|from| statement.contains(from)))
        .expect("a statement on the table");
    match t.backend {
        Backend::Postgres => {
            let query =
                format!("PREPARE statement AS {statement}; EXPLAIN EXECUTE statement({arguments})");
            let lines = t.sql_values(&query).await;
            lines.into_iter().flatten().collect::<Vec<_>>().join("\n")
        }
        Backend::Sqlite => explain_on_sqlite(t, &statement),
    }
}

#[derive(QueryableByName)]
struct Step {
    #[diesel(sql_type = Text)]
    detail: String,
}

/// Returns a list of one text, as the parameter of a statement that asks for several.
pub fn list_of(t: &Test, text: &str) -> String {
    match t.backend {
        Backend::Postgres => format!("'{{{text}}}'"),
        Backend::Sqlite => format!("'{text}'"),
    }
}

/// Returns how SQLite carries out a statement.
pub fn explain_on_sqlite(t: &Test, statement: &str) -> String {
    let url = t.database_url();
    let path = url.strip_prefix("sqlite://").unwrap();
    let mut connection = SqliteConnection::establish(path).unwrap();
    let query = diesel::sql_query(format!("EXPLAIN QUERY PLAN {statement}"));
    let steps: Vec<Step> = query.load(&mut connection).unwrap();
    let details: Vec<String> = steps.into_iter().map(|step| step.detail).collect();
    details.join("\n")
}
