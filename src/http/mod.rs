//! The operations port: HTTP for people, load balancers without gRPC, and Prometheus.
//!
//! | path | answers |
//! |---|---|
//! | `/health` | 200 while calls are expected to succeed, 503 otherwise, as JSON |
//! | `/metrics` | every metric, in the OpenMetrics text format |
//! | `/.well-known/jwks.json` | the public keys that access tokens can be verified with |

mod health;
mod jwks;
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
use crate::tokens::SigningKeys;

/// What the pages are made from.
#[derive(Clone)]
pub struct Operations {
    /// The health.
    pub health: Health,
    /// The database.
    pub database: Database,
    /// Hashes passwords.
    pub hasher: PasswordHasher,
    /// The keys that access tokens can be verified with.
    pub signing_keys: SigningKeys,
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
        .route("/.well-known/jwks.json", get(jwks::jwks))
        .with_state(operations);
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "the operations server ended");
    }
}
