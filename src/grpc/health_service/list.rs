//! Answers with the present health of every service.

use super::response;
use crate::health::Health;
use crate::proto::grpc::health::v1::HealthListResponse;

pub(super) fn list(health: &Health) -> HealthListResponse {
    HealthListResponse {
        statuses: health
            .names()
            .filter_map(|name| Some((name.to_owned(), response(health.check(name)?.into()))))
            .collect(),
    }
}
