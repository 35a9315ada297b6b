//! What operators see: the log and the metrics.

mod listener;
mod log;
mod metrics;
mod span_fields;

pub use listener::{ListenerMetrics, RefusedConnection};
pub use log::{LogGuard, init_log};
pub use metrics::{DatabaseMetrics, HashingMetrics, Metrics, SignInMetrics, WatchMetrics};
