//! `GET /metrics`.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use super::Operations;

/// The media type of the OpenMetrics text format.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) async fn metrics(State(operations): State<Operations>) -> impl IntoResponse {
    let pools = operations.database.pool_status();
    let text = operations.metrics.encode(&pools, operations.hasher.status());
    ([(CONTENT_TYPE, OPENMETRICS)], text)
}
