//! What operators see: the log and the metrics.

mod log;
mod metrics;

pub use log::{LogGuard, init_log};
pub use metrics::{DatabaseMetrics, HashingMetrics, Metrics, SignInMetrics};
