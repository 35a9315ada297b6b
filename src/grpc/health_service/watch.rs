//! Answers with the health of a service, now and whenever it changes.

use std::pin::Pin;

use tokio_stream::wrappers::WatchStream as Transitions;
use tokio_stream::{Stream, StreamExt, once, pending};
use tonic::Status;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::response;
use crate::health::{Health, LIVENESS};

pub(super) type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

pub(super) fn watch(health: &Health, request: &HealthCheckRequest) -> WatchStream {
    match health.check(&request.service) {
        // Services are known from the start, so an unknown one stays unknown: the call just stays open.
        None => Box::pin(once(Ok(response(ServingStatus::ServiceUnknown))).chain(pending())),
        Some(serving) if request.service == LIVENESS => {
            Box::pin(once(Ok(response(serving.into()))).chain(pending()))
        }
        Some(_) => {
            let transitions = Transitions::new(health.watch());
            Box::pin(transitions.map(|serving| Ok(response(serving.into()))))
        }
    }
}
