//! The schema: how it comes, goes, is checked, and what it refuses.

mod commands;
mod drift;
mod oauth_accounts;
mod refresh_tokens;
mod rows_by_hand;
mod schema;
mod start;
mod verify;

use crate::support::{Behaviour, Test};

pub fn tests() -> Vec<Behaviour> {
    [
        commands::tests(),
        drift::tests(),
        oauth_accounts::tests(),
        refresh_tokens::tests(),
        rows_by_hand::tests(),
        schema::tests(),
        start::tests(),
        verify::tests(),
    ]
    .concat()
}

/// The names of the migrations, oldest first.
const MIGRATIONS: [&str; 12] = [
    "2026-11-21-000001_create_users",
    "2026-11-21-000002_create_request_ids",
    "2026-11-21-000003_create_sessions",
    "2026-11-21-000004_create_login_attempts",
    "2026-11-21-000005_create_signing_keys",
    "2026-11-21-000006_create_one_time_tokens",
    "2026-11-21-000007_create_service_tokens",
    "2026-11-21-000008_create_user_events",
    "2026-11-21-000009_create_oauth_accounts",
    "2026-11-21-000010_add_imported_password_hashes",
    "2026-11-22-000011_keep_indexes_on_refresh",
    "2026-11-29-000012_tie_refresh_tokens_to_sessions",
];

/// How many migrations there are.
fn count() -> String {
    MIGRATIONS.len().to_string()
}

/// Runs `identity migrate …`, which must succeed, and returns what it printed.
async fn migrate(t: &Test, arguments: &[&str]) -> String {
    let (code, stdout, stderr) = t.run(&[], &[&["migrate"], arguments].concat()).await;
    assert_eq!(code, 0, "migrate {arguments:?}: {stdout}{stderr}");
    stdout
}

/// Runs `identity migrate …`, which must fail, and returns everything that it printed.
async fn migrate_in_vain(t: &Test, arguments: &[&str]) -> String {
    let (code, stdout, stderr) = t.run(&[], &[&["migrate"], arguments].concat()).await;
    assert_eq!(code, 1, "migrate {arguments:?}: {stdout}{stderr}");
    stdout + &stderr
}

/// Runs `identity serve`, which must refuse to, and returns what it said.
async fn serve_in_vain(t: &Test, variables: &[(&str, &str)]) -> String {
    let (code, _, stderr) = t.run(variables, &["serve"]).await;
    assert_eq!(code, 1, "{stderr}");
    stderr
}
