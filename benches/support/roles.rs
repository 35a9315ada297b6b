//! What else the program of a bench is: it is started again as what has to run in a process of its own.

use std::future::Future;
use std::num::NonZero;
use std::process::{Command, Stdio};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::{Builder, Runtime};

/// What the processes are told apart by.
pub const ROLE: &str = "IDENTITY_BENCH_ROLE";

/// Runs a bench, or what this process was started as instead.
pub fn run(bench: impl Future<Output = ()>) {
    // As the service makes it.
    let runtime = Builder::new_multi_thread().enable_all().build();
    run_on(&runtime.expect("a runtime"), bench);
}

/// Makes a runtime for load that leaves half of the cores to what it is put on: with a thread for every core, it would
/// wait for them itself, and whoever answers fastest would share them with the most of it.
pub fn half_of_the_cores() -> Runtime {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let runtime = Builder::new_multi_thread()
        .worker_threads((cores / 2).max(1))
        .enable_all()
        .build();
    runtime.expect("a runtime")
}

/// Does what [`run`] does, on a given runtime.
pub fn run_on(runtime: &Runtime, bench: impl Future<Output = ()>) {
    raise_descriptors();
    match std::env::var(ROLE).as_deref() {
        Ok(super::limits::no_op::ROLE) => runtime.block_on(super::limits::no_op::serve()),
        Ok(role) => panic!("{role} is not a part of this bench"),
        // `cargo test --benches` and `cargo clippy` give arguments; none of them matters.
        Err(_) => runtime.block_on(bench),
    }
}

/// Lets this process have as many connections as it may: an open loop opens new ones for calls that wait.
pub fn raise_descriptors() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, limit).expect("descriptors");
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
