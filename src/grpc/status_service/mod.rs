//! `identity.v1.StatusService`.

mod get_status;

use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, Utc};
use tokio::sync::Mutex;
use tonic::{Request, Response, Status};

use super::call::CallContext;
use crate::database::Database;
use crate::database::migrations::MigrationStatus;
use crate::health::Health;
use crate::password_hashing::PasswordHasher;
use crate::proto::identity::v1::status_service_server::StatusService;
use crate::proto::identity::v1::{GetStatusRequest, GetStatusResponse};

/// Answers the calls of the service.
#[derive(Clone)]
pub struct StatusServiceImpl(Arc<ServerStatus>);

/// What the RPC works with.
pub struct ServerStatus {
    database: Database,
    health: Health,
    hasher: PasswordHasher,
    started_at: DateTime<Utc>,
    /// What was last read, and when.
    migrations: Mutex<Option<(Instant, MigrationStatus)>>,
}

impl ServerStatus {
    /// Takes what the RPC works with.
    #[must_use]
    pub fn new(
        database: Database,
        health: Health,
        hasher: PasswordHasher,
        started_at: DateTime<Utc>,
    ) -> Self {
        Self {
            database,
            health,
            hasher,
            started_at,
            migrations: Mutex::default(),
        }
    }
}

impl StatusServiceImpl {
    /// Makes the service.
    #[must_use]
    pub fn new(status: ServerStatus) -> Self {
        Self(Arc::new(status))
    }
}

#[tonic::async_trait]
impl StatusService for StatusServiceImpl {
    async fn get_status(
        &self,
        request: Request<GetStatusRequest>,
    ) -> Result<Response<GetStatusResponse>, Status> {
        let (context, _message) = CallContext::split(request)?;
        Ok(Response::new(get_status::get_status(&self.0, &context).await))
    }
}
