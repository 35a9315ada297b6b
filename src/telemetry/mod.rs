//! What operators see: the log and the metrics.

mod listener;
mod log;
mod metrics;

pub use listener::{ListenerMetrics, RefusedConnection};
pub use log::{LogGuard, init_log};
pub use metrics::{DatabaseMetrics, HashingMetrics, Metrics, SignInMetrics, WatchMetrics};
