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

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tower::ServiceExt;

use crate::clock::Clock;
use crate::database::Database;
use crate::health::Health;
use crate::listener::Pauses;
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
    /// Far more than probes and collectors of metrics need.
    const MAX_CONNECTIONS: usize = 128;
    let router = Router::new()
        .route("/health", get(health::health))
        .route("/metrics", get(metrics::metrics))
        .route("/.well-known/jwks.json", get(jwks::jwks))
        .with_state(operations);
    let mut tasks = JoinSet::new();
    let mut open: VecDeque<AbortHandle> = VecDeque::new();
    let mut pauses = Pauses::default();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            // Finished connections are forgotten as they end.
            Some(_) = tasks.join_next() => {
                open.retain(|connection| !connection.is_finished());
                continue;
            }
        };
        match accepted {
            Ok((stream, _)) => {
                pauses = Pauses::default();
                // As at the gRPC port, who comes is served, and the oldest gives way.
                if open.len() >= MAX_CONNECTIONS
                    && let Some(oldest) = open.pop_front()
                {
                    oldest.abort();
                }
                open.push_back(tasks.spawn(serve_connection(stream, router.clone())));
            }
            Err(error) => {
                if let Some(pause) = pauses.after(&error) {
                    tracing::warn!(%error, "the operations port cannot accept connections for a moment");
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }
}

async fn serve_connection(stream: TcpStream, router: Router) {
    /// Longer than any honest client takes to ask.
    const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
    let answers = service_fn(move |request: Request<Incoming>| router.clone().oneshot(request));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), answers)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection to the operations port ended early");
    }
}
