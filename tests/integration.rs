//! The behaviour of the service, on both databases.
//!
//! Every behaviour is written once and runs as `sqlite::…` and as `postgres::…`, each time with a database of
//! its own. PostgreSQL is started from the programs on this machine, or `TEST_DATABASE_URL` names a server;
//! with neither, its tests are ignored, or refused if `IDENTITY_TEST_REQUIRE_POSTGRES=1`.

#![allow(
    unreachable_pub,
    clippy::as_conversions,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a failed expectation ends a test, and `pub` marks what tests may use of the support"
)]

mod auth_service;
mod authorization;
mod cli;
mod contract;
mod credential_service;
mod faults;
mod harness;
mod health;
mod listener;
mod migrations;
mod oauth_account_service;
mod security;
mod security_service;
mod session_service;
mod support;
mod systems;
mod user_service;

use std::process::ExitCode;

fn main() -> ExitCode {
    let tests = [
        auth_service::tests(),
        authorization::tests(),
        cli::tests(),
        contract::tests(),
        credential_service::tests(),
        faults::tests(),
        harness::tests(),
        health::tests(),
        listener::tests(),
        migrations::tests(),
        oauth_account_service::tests(),
        security::tests(),
        security_service::tests(),
        session_service::tests(),
        systems::tests(),
        user_service::tests(),
    ];
    support::run(tests.concat())
}
