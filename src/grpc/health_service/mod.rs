//! `grpc.health.v1.Health`, as its specification has it: with List, and with a Watch that lives on when it
//! is asked for a name that is not known.

mod check;
mod list;
mod watch;

use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::health::{Health, Serving};
use crate::proto::grpc::health::v1::health_server::Health as HealthApi;
use crate::proto::grpc::health::v1::{HealthListRequest, HealthListResponse};

/// Answers the calls of the service.
#[derive(Clone)]
pub(super) struct HealthServiceImpl(Health);

impl HealthServiceImpl {
    pub(super) const fn new(health: Health) -> Self {
        Self(health)
    }
}

#[tonic::async_trait]
impl HealthApi for HealthServiceImpl {
    type WatchStream = watch::WatchStream;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        Ok(Response::new(check::check(&self.0, &request.into_inner())?))
    }

    async fn list(
        &self,
        _request: Request<HealthListRequest>,
    ) -> Result<Response<HealthListResponse>, Status> {
        Ok(Response::new(list::list(&self.0)))
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Ok(Response::new(watch::watch(&self.0, &request.into_inner())))
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: status.into(),
    }
}

impl From<Serving> for ServingStatus {
    fn from(serving: Serving) -> Self {
        match serving {
            Serving::Yes => Self::Serving,
            Serving::No => Self::NotServing,
        }
    }
}
