//! What the five applications need, row by row: modules for each application (`rag`, `rag_tokens`, …), and a test
//! whose name begins with the row.
//!
//! Every application is a deployment of the one service, so every module starts the real server with that
//! application's own configuration.

mod calls;
mod counselling;
mod counselling_sign_in;
mod kept_out;
mod locks;
mod numerology;
mod numerology_accounts;
mod numerology_deletion;
mod numerology_export;
mod numerology_sign_in;
mod outage;
pub mod plans;
mod rag;
mod rag_attempts;
mod rag_google;
mod rag_tokens;
pub mod repository;
mod rows;
mod tasks;
mod todo;
mod todo_audit;
mod todo_sign_in;

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{Backend, Behaviour, Test, plain};

pub fn tests() -> Vec<Behaviour> {
    [
        numerology::tests(),
        numerology_accounts::tests(),
        numerology_sign_in::tests(),
        numerology_deletion::tests(),
        numerology_export::tests(),
        counselling::tests(),
        counselling_sign_in::tests(),
        tasks::tests(),
        todo::tests(),
        todo_sign_in::tests(),
        todo_audit::tests(),
        rag::tests(),
        rag_tokens::tests(),
        rag_attempts::tests(),
        rag_google::tests(),
        plain![every_row_has_a_test],
    ]
    .concat()
}

/// Every row of the requirements.
const ROWS: &str = "
    NUM-01 NUM-02 NUM-03 NUM-04 NUM-05 NUM-06 NUM-07 NUM-08 NUM-09 NUM-10 NUM-11 NUM-12 NUM-13 NUM-14 NUM-15
    CSL-01 CSL-02 CSL-03 CSL-04 CSL-05 CSL-06 CSL-07 CSL-08 CSL-09 CSL-10 CSL-11
    TSK-01 TSK-02 TSK-03 TSK-04 TSK-05 TSK-06 TSK-07 TSK-08
    TODO-01 TODO-02 TODO-03 TODO-04 TODO-05 TODO-06 TODO-07 TODO-08 TODO-09 TODO-10 TODO-11
    RAG-01 RAG-02 RAG-03 RAG-04 RAG-05 RAG-06 RAG-07 RAG-08 RAG-09 RAG-10 RAG-11 RAG-12
";

/// Rows about rows of another service, which are proved where there is one: `examples/tasks`.
const ROWS_OF_TASKS: &str = "TSK-02 TSK-03 TSK-04 TSK-05 TSK-06 TODO-08";

fn every_row_has_a_test() {
    let tests = tests();
    let is_proved = |row: &str| {
        let (application, _) = row.split_once('-').unwrap();
        let wanted = match application {
            "NUM" => "numerology",
            "CSL" => "counselling",
            "TSK" => "tasks",
            "TODO" => "todo",
            "RAG" => "rag",
            _ => panic!("the row {row} belongs to no application"),
        };
        let id = format!("{}_", row.to_lowercase().replace('-', "_"));
        tests.iter().any(|test| {
            let module = test.module.rsplit("::").next().unwrap();
            let is_of_application = module.split('_').next() == Some(wanted);
            // A test of two rows begins with both.
            let is_of_row = test.name.starts_with(&id) || test.name.contains(&format!("_{id}"));
            is_of_application && is_of_row
        })
    };
    let elsewhere = test_names_of_tasks();
    let is_proved_elsewhere = |row: &str| {
        let id = format!("{}_", row.to_lowercase().replace('-', "_"));
        elsewhere.iter().any(|name| name.starts_with(&id))
    };
    let is_of_tasks = |row: &str| ROWS_OF_TASKS.split_whitespace().any(|one| one == row);
    let unproved: Vec<&str> = ROWS
        .split_whitespace()
        .filter(|row| {
            if is_of_tasks(row) {
                !is_proved_elsewhere(row)
            } else {
                !is_proved(row)
            }
        })
        .collect();
    assert!(unproved.is_empty(), "rows without a test: {unproved:?}");
}

/// Returns the names of the tests of `examples/tasks`: the functions that its files define and list. They are in another
/// program, which `cargo test` runs after this one.
fn test_names_of_tasks() -> Vec<String> {
    let files = fs::read_dir(repository_file("examples/tasks/tests")).unwrap();
    let sources = files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
    let mut names = Vec::new();
    for source in sources {
        let defined = source.lines().filter_map(|line| line.strip_prefix("async fn "));
        let tests = defined.filter_map(|rest| rest.strip_suffix("(t: Test) {"));
        let listed = tests.filter(|name| source.contains(&format!("        {name},\n")));
        names.extend(listed.map(str::to_owned));
    }
    names
}

/// A file of this repository.
fn repository_file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The names of all migrations, oldest first.
fn migration_names(backend: Backend) -> Vec<String> {
    let folder = repository_file("migrations").join(backend.name());
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Runs `identity migrate …`, which must succeed, and returns what it prints.
async fn migrate(t: &Test, arguments: &[&str]) -> String {
    let (code, stdout, stderr) = t.run(&[], &[&["migrate"], arguments].concat()).await;
    assert_eq!(code, 0, "migrate {arguments:?}: {stdout}{stderr}");
    stdout
}

/// Reverts every migration, as long as no rows are lost.
async fn migrate_down(t: &Test) -> String {
    let count = migration_names(t.backend).len().to_string();
    migrate(t, &["down", "--steps", &count]).await
}

/// Returns the names of the tables in the order of the alphabet.
async fn table_names(t: &Test) -> Vec<String> {
    let query = match t.backend {
        // SQLite's own tables cannot be dropped.
        Backend::Sqlite => {
            "SELECT name AS value FROM sqlite_schema
             WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
        }
        Backend::Postgres => {
            "SELECT tablename AS value FROM pg_tables WHERE schemaname = current_schema() ORDER BY tablename"
        }
    };
    t.sql_values(query).await.into_iter().flatten().collect()
}

/// Returns the columns of a table: name, type, and `YES` if NULL is allowed or `NO`.
async fn columns(t: &Test, table: &str) -> Vec<String> {
    let query = match t.backend {
        Backend::Postgres => format!(
            "SELECT format('%s %s %s', column_name, udt_name, is_nullable) AS value
             FROM information_schema.columns WHERE table_name = '{table}'"
        ),
        Backend::Sqlite => format!(
            "SELECT format('%s %s %s', name, lower(type), iif(\"notnull\", 'NO', 'YES')) AS value
             FROM pragma_table_info('{table}')"
        ),
    };
    t.sql_values(&query).await.into_iter().flatten().collect()
}

/// Returns the number of rows of a table.
async fn count(t: &Test, table: &str) -> String {
    let query = format!("SELECT count(*) AS value FROM {table}");
    t.sql_value(&query).await.unwrap()
}

/// Returns the names of the indexes of a table in the order of the alphabet.
async fn index_names(t: &Test, table: &str) -> Vec<String> {
    let query = match t.backend {
        Backend::Sqlite => {
            format!("SELECT name AS value FROM pragma_index_list('{table}') ORDER BY name")
        }
        Backend::Postgres => {
            format!(
                "SELECT indexname AS value FROM pg_indexes WHERE tablename = '{table}' ORDER BY indexname"
            )
        }
    };
    t.sql_values(&query).await.into_iter().flatten().collect()
}
