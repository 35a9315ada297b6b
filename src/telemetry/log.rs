//! The log: text on a terminal, JSON elsewhere.

use std::io::{IsTerminal, stderr};

use tracing::{Level, Metadata};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::span_fields::SpanFields;
use crate::config::{LogFormat, LogSettings};

/// Shows that the log has been set up.
#[derive(Debug)]
#[must_use]
pub struct LogGuard(());

/// Sends the log to standard error. Standard output is left to what commands print.
///
/// Control characters in values are escaped by both formats, so that nothing that a caller sends can forge
/// a line or drive a terminal.
pub fn init_log(settings: &LogSettings) -> LogGuard {
    let is_text = match settings.format {
        LogFormat::Text => true,
        LogFormat::Json => false,
        LogFormat::Auto => stderr().is_terminal(),
    };
    let registry = tracing_subscriber::registry()
        .with(settings.filter.clone())
        .with(filter_fn(holds_no_values));
    let result = if is_text {
        registry
            .with(tracing_subscriber::fmt::layer().with_writer(stderr))
            .try_init()
    } else {
        registry
            .with(
                tracing_subscriber::fmt::layer()
                    .json()
                    .fmt_fields(SpanFields)
                    .with_writer(stderr),
            )
            .try_init()
    };
    if result.is_ok() {
        log_panics();
    }
    LogGuard(())
}

/// Tells whether an event is logged if the settings ask for it.
///
/// Below the level of info, the driver of PostgreSQL logs the values of every statement, password hashes
/// among them. No setting may bring those into the log; `IDENTITY_DATABASE_ECHO` logs the statements.
fn holds_no_values(event: &Metadata<'_>) -> bool {
    let is_of_driver = event.target().starts_with("tokio_postgres");
    !is_of_driver || *event.level() <= Level::INFO
}

/// Logs where a panic happened. Its message is left out: it may quote a value.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(location, "panic");
    }));
}
