//! Answers with the health of a service, now and whenever it changes, until the server ends.

use std::pin::Pin;

use futures_util::stream::unfold;
use tokio::sync::watch;
use tokio_stream::Stream;
use tonic::Status;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::response;
use crate::health::{Health, LIVENESS, Serving};

pub(super) type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

pub(super) fn watch(health: &Health, request: &HealthCheckRequest) -> WatchStream {
    let fixed = match health.check(&request.service) {
        // Services are known from the start, so an unknown one stays unknown: the call just stays open.
        None => Some(ServingStatus::ServiceUnknown),
        Some(serving) if request.service == LIVENESS => Some(serving.into()),
        Some(_) => None,
    };
    let watcher = Watcher {
        health: health.clone(),
        database: health.watch(),
        fixed,
        told: None,
    };
    Box::pin(unfold(watcher, Watcher::next))
}

/// What a client that watches has been told.
struct Watcher {
    health: Health,
    database: watch::Receiver<Serving>,
    /// The status of a name that does not follow the database.
    fixed: Option<ServingStatus>,
    told: Option<ServingStatus>,
}

impl Watcher {
    async fn next(mut self) -> Option<(Result<HealthCheckResponse, Status>, Self)> {
        loop {
            // Asked first: what the health became before the end is told before the end.
            let has_ended = self.health.has_ended();
            let status = match self.fixed {
                Some(status) => status,
                None => (*self.database.borrow_and_update()).into(),
            };
            if self.told != Some(status) {
                self.told = Some(status);
                return Some((Ok(response(status)), self));
            }
            if has_ended {
                return None;
            }
            tokio::select! {
                changed = self.database.changed(), if self.fixed.is_none() => changed.ok()?,
                () = self.health.ended() => {}
            }
        }
    }
}
