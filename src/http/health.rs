//! `GET /health`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::SecondsFormat;
use serde_json::{Value, json};

use super::Operations;
use crate::health::Serving;

pub(super) async fn health(State(operations): State<Operations>) -> (StatusCode, Json<Value>) {
    let timestamp = operations
        .clock
        .now()
        .to_rfc3339_opts(SecondsFormat::Micros, true);
    if operations.health.check("") == Some(Serving::Yes) {
        let healthy = json!({ "status": "healthy", "database": "connected", "timestamp": timestamp });
        return (StatusCode::OK, Json(healthy));
    }
    let (database, error) = if operations.health.is_draining() && operations.health.report().is_connected
    {
        ("connected", "the server is ending")
    } else {
        ("disconnected", "the database does not answer")
    };
    let unhealthy = json!({
        "status": "unhealthy",
        "database": database,
        "error": error,
        "timestamp": timestamp,
    });
    (StatusCode::SERVICE_UNAVAILABLE, Json(unhealthy))
}
