//! The operations port: HTTP for people, load balancers without gRPC, and Prometheus.
//!
//! | path | answers |
//! |---|---|
//! | `/health` | 200 while calls are expected to succeed, 503 otherwise, as JSON |
//! | `/metrics` | every metric, in the OpenMetrics text format |

mod health;
mod metrics;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::clock::Clock;
use crate::database::Database;
use crate::health::Health;
use crate::password_hashing::PasswordHasher;
use crate::telemetry::Metrics;

/// What the pages are made from.
#[derive(Clone)]
pub struct Operations {
    /// The health.
    pub health: Health,
    /// The database.
    pub database: Database,
    /// Hashes passwords.
    pub hasher: PasswordHasher,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// Serves the operations port for as long as the server runs.
pub async fn serve(listener: TcpListener, operations: Operations) {
    let router = Router::new()
        .route("/health", get(health::health))
        .route("/metrics", get(metrics::metrics))
        .with_state(operations);
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "the operations server ended");
    }
}
