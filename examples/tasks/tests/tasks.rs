//! The behaviour of the task service, beside an identity service that runs, on both databases.
//!
//! The means are those of the tests of identity: databases, servers, clocks that can be moved. The names of tests begin
//! with the rows of the requirements that they prove.

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

mod deletions;
mod isolation;
mod lists;
mod migrations;
mod ownership;
mod programs;
mod requests;
#[path = "../../../tests/support/mod.rs"]
#[expect(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "the tests of identity use all of it, and these a part"
)]
mod support;
mod tokens;
mod world;

use std::process::ExitCode;

fn main() -> ExitCode {
    world::listen_to_databases();
    let tests = [
        deletions::tests(),
        isolation::tests(),
        lists::tests(),
        migrations::tests(),
        ownership::tests(),
        programs::tests(),
        requests::tests(),
        tokens::tests(),
    ];
    support::run(tests.concat())
}
