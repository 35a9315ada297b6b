//! Answers with the present health of a service.

use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::response;
use crate::grpc::error::ApiError;
use crate::health::Health;

pub(super) fn check(
    health: &Health,
    request: &HealthCheckRequest,
) -> Result<HealthCheckResponse, ApiError> {
    health
        .check(&request.service)
        .map(|serving| response(serving.into()))
        .ok_or_else(ApiError::unknown_service)
}
