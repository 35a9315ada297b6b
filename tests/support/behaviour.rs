//! The list of tests: each module names its own, and its parent concatenates.

use std::pin::Pin;

use super::{Backend, Test};

/// A running test.
pub type TestFuture = Pin<Box<dyn Future<Output = ()>>>;

/// A test, and what it runs on.
#[derive(Clone, Copy)]
pub struct Behaviour {
    /// The module of the test, with the name of this crate in front.
    pub module: &'static str,
    /// The name of its function.
    pub name: &'static str,
    /// The function.
    pub body: Body,
}

/// The function of a test.
#[derive(Clone, Copy)]
pub enum Body {
    /// Runs once on each of these databases.
    OnDatabase(&'static [Backend], fn(Test) -> TestFuture),
    /// Runs once, without a database.
    Plain(fn() -> TestFuture),
}

/// Lists `async fn name(t: Test)` that run on both databases, as a `Vec<Behaviour>`.
macro_rules! behaviours {
    ($($name:ident),+ $(,)?) => {
        $crate::support::on_databases!(&$crate::support::Backend::BOTH, $($name),+)
    };
}

/// Lists `async fn name(t: Test)` about what PostgreSQL alone has.
macro_rules! postgres_only {
    ($($name:ident),+ $(,)?) => {
        $crate::support::on_databases!(&[$crate::support::Backend::Postgres], $($name),+)
    };
}

/// Lists `async fn name(t: Test)` about what SQLite alone has.
macro_rules! sqlite_only {
    ($($name:ident),+ $(,)?) => {
        $crate::support::on_databases!(&[$crate::support::Backend::Sqlite], $($name),+)
    };
}

/// Lists `fn name()` and `async fn name()` that need no database.
macro_rules! plain {
    ($($name:ident),+ $(,)?) => {
        vec![$($crate::support::Behaviour {
            module: module_path!(),
            name: stringify!($name),
            body: $crate::support::Body::Plain(|| $crate::support::Plain::start($name)),
        }),+]
    };
}

macro_rules! on_databases {
    ($backends:expr, $($name:ident),+) => {
        vec![$($crate::support::Behaviour {
            module: module_path!(),
            name: stringify!($name),
            body: $crate::support::Body::OnDatabase($backends, |test| Box::pin($name(test))),
        }),+]
    };
}

pub(crate) use {behaviours, on_databases, plain, postgres_only, sqlite_only};

/// Makes `fn()` and `async fn()` the same. `Kind` only keeps the two implementations apart.
pub trait Plain<Kind> {
    /// Starts the test.
    fn start(self) -> TestFuture;
}

impl<F: FnOnce() + 'static> Plain<()> for F {
    fn start(self) -> TestFuture {
        Box::pin(async { self() })
    }
}

impl<F, R> Plain<(R,)> for F
where
    F: FnOnce() -> R,
    R: Future<Output = ()> + 'static,
{
    fn start(self) -> TestFuture {
        Box::pin(self())
    }
}
