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
    match operations.health.check("") {
        Some(Serving::Yes) => (
            StatusCode::OK,
            Json(json!({
                "status": "healthy",
                "database": "connected",
                "timestamp": timestamp,
            })),
        ),
        _ => (
            StatusCode::SERVICE_UNAVAILABLE,
            Json(json!({
                "status": "unhealthy",
                "database": "disconnected",
                "error": "the database does not answer",
                "timestamp": timestamp,
            })),
        ),
    }
}
