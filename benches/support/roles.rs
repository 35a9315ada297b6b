//! What else the program of a bench is: it is started again as what has to run in a process of its own.

use std::future::Future;
use std::process::{Command, Stdio};

/// What the processes are told apart by.
pub const ROLE: &str = "IDENTITY_BENCH_ROLE";

/// Runs a bench, or what this process was started as instead.
pub fn run(bench: impl Future<Output = ()>) {
    // As the service makes it.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    match std::env::var(ROLE).as_deref() {
        Ok(super::limits::no_op::ROLE) => runtime.block_on(super::limits::no_op::serve()),
        Ok(role) => panic!("{role} is not a part of this bench"),
        // `cargo test --benches` and `cargo clippy` give arguments; none of them matters.
        Err(_) => runtime.block_on(bench),
    }
}

/// Prepares this program to be started as something else. It ends when its standard input does, also if the bench
/// is killed.
pub fn command(role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command
        .env(ROLE, role)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    command
}
