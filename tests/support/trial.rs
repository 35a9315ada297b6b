//! Runs the tests.

use std::any::Any;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use futures_util::FutureExt;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use super::behaviour::{Behaviour, Body, TestFuture};
use super::postgres::{self, Skipped};
use super::{Backend, Test};

/// How long a test may take. Reached only when something waits for what never comes.
const LIMIT: Duration = Duration::from_secs(120);

/// How long a test's leftover blocking work may hold up the next test.
const LEFTOVER_LIMIT: Duration = Duration::from_secs(5);

/// How a test ended: well, or with what it panicked with.
type Outcome = Result<(), Box<dyn Any + Send>>;

/// Runs the tests that the arguments of the process ask for.
#[expect(
    clippy::print_stderr,
    reason = "libtest-mimic has no place for the reason why tests are ignored"
)]
pub fn run(behaviours: Vec<Behaviour>) -> ExitCode {
    let arguments = Arguments::from_args();
    let by_name = Arguments {
        ignored: false,
        ..arguments.clone()
    };
    let mut trials: Vec<Trial> = behaviours.into_iter().flat_map(trials_of).collect();
    let wants_postgres = trials
        .iter()
        .any(|trial| needs_postgres(trial) && !by_name.is_filtered_out(trial));
    if wants_postgres && let Err(reason) = postgres::is_available() {
        eprintln!("the tests on PostgreSQL cannot run: {reason}");
        if postgres::is_required() && !arguments.list {
            return ExitCode::FAILURE;
        }
        trials = trials.into_iter().map(ignored_if_on_postgres).collect();
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    postgres::stop_shared_server();
    conclusion.exit_code()
}

fn trials_of(behaviour: Behaviour) -> Vec<Trial> {
    let module = behaviour
        .module
        .split_once("::")
        .map_or("", |(_crate, module)| module);
    let path = format!("{module}::{}", behaviour.name);
    match behaviour.body {
        Body::Plain(body) => vec![Trial::ignorable_test(path, move || run_plain(body))],
        Body::OnDatabase(backends, body) => backends
            .iter()
            .map(|&backend| {
                let name = format!("{}::{path}", backend.name());
                Trial::ignorable_test(name, move || run_on_database(backend, body))
            })
            .collect(),
    }
}

fn needs_postgres(trial: &Trial) -> bool {
    trial.name().split("::").next() == Some(Backend::Postgres.name())
}

fn ignored_if_on_postgres(trial: Trial) -> Trial {
    if needs_postgres(&trial) {
        trial.with_kind("no PostgreSQL").with_ignored_flag(true)
    } else {
        trial
    }
}

fn run_plain(body: fn() -> TestFuture) -> Result<Completion, Failed> {
    let runtime = new_runtime();
    let outcome = runtime.block_on(watched(body));
    runtime.shutdown_timeout(LEFTOVER_LIMIT);
    conclude(outcome)
}

fn run_on_database(backend: Backend, body: fn(Test) -> TestFuture) -> Result<Completion, Failed> {
    let directory = tempfile::Builder::new()
        .prefix("identity-test-")
        .tempdir()
        .expect("a temporary folder");
    let runtime = new_runtime();
    let outcome = runtime.block_on(with_database(backend, directory.path(), body));
    runtime.shutdown_timeout(LEFTOVER_LIMIT);
    // Only now is it certain that no server uses the folder.
    drop(directory);
    conclude(outcome)
}

async fn with_database(backend: Backend, directory: &Path, body: fn(Test) -> TestFuture) -> Outcome {
    match backend {
        Backend::Sqlite => {
            let url = format!("sqlite://{}", directory.join("test.db").display());
            watched(|| body(Test::new(backend, directory, &url))).await
        }
        Backend::Postgres => {
            let database = postgres::create_database().await;
            let outcome = watched(|| body(Test::new(backend, directory, &database.url))).await;
            database.drop().await;
            outcome
        }
    }
}

fn new_runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Runs a test to its end, whatever the end is, so that what it used can be removed.
async fn watched(body: impl FnOnce() -> TestFuture) -> Outcome {
    let caught = AssertUnwindSafe(async { body().await }).catch_unwind();
    timeout(LIMIT, caught).await.unwrap_or_else(|_| {
        let message = format!("still running after {} s", LIMIT.as_secs());
        Err(Box::new(message))
    })
}

fn conclude(outcome: Outcome) -> Result<Completion, Failed> {
    let Err(payload) = outcome else {
        return Ok(Completion::Completed);
    };
    match payload.downcast::<Skipped>() {
        Ok(skipped) if postgres::is_required() => Err(skipped.0.into()),
        Ok(skipped) => Ok(Completion::ignored_with(skipped.0)),
        Err(panic) => resume_unwind(panic),
    }
}
