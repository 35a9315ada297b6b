//! `identity.v1.SecurityService`.

mod clear_lockout;
mod get_lockout;
mod list_login_attempts;
mod list_user_events;
mod subject;

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::PageTokens;
use super::call::CallContext;
use crate::proto::identity::v1::security_service_server::SecurityService;
use crate::proto::identity::v1::{
    ClearLockoutRequest, ClearLockoutResponse, GetLockoutRequest, GetLockoutResponse,
    ListLoginAttemptsRequest, ListLoginAttemptsResponse, ListUserEventsRequest, ListUserEventsResponse,
};
use crate::repositories::{
    LockoutRepository, LoginAttemptRepository, UserEventRepository, UserRepository,
};

/// Answers the calls of the service.
#[derive(Clone)]
pub struct SecurityServiceImpl(Arc<Security>);

/// What the RPCs work with.
pub struct Security {
    /// The users.
    pub users: UserRepository,
    /// The attempts to sign in.
    pub login_attempts: LoginAttemptRepository,
    /// The counters of failed attempts.
    pub lockouts: LockoutRepository,
    /// What happened to users.
    pub user_events: UserEventRepository,
    /// Makes and reads page tokens.
    pub page_tokens: PageTokens,
}

impl SecurityServiceImpl {
    /// Makes the service.
    #[must_use]
    pub fn new(security: Security) -> Self {
        Self(Arc::new(security))
    }
}

#[tonic::async_trait]
impl SecurityService for SecurityServiceImpl {
    async fn list_login_attempts(
        &self,
        request: Request<ListLoginAttemptsRequest>,
    ) -> Result<Response<ListLoginAttemptsResponse>, Status> {
        let (context, message) = CallContext::split(request)?;
        Ok(Response::new(
            list_login_attempts::list_login_attempts(&self.0, &context, message).await?,
        ))
    }

    async fn get_lockout(
        &self,
        request: Request<GetLockoutRequest>,
    ) -> Result<Response<GetLockoutResponse>, Status> {
        let (context, message) = CallContext::split(request)?;
        Ok(Response::new(
            get_lockout::get_lockout(&self.0, &context, message).await?,
        ))
    }

    async fn clear_lockout(
        &self,
        request: Request<ClearLockoutRequest>,
    ) -> Result<Response<ClearLockoutResponse>, Status> {
        let (context, message) = CallContext::split(request)?;
        Ok(Response::new(
            clear_lockout::clear_lockout(&self.0, &context, message).await?,
        ))
    }

    async fn list_user_events(
        &self,
        request: Request<ListUserEventsRequest>,
    ) -> Result<Response<ListUserEventsResponse>, Status> {
        let (context, message) = CallContext::split(request)?;
        Ok(Response::new(
            list_user_events::list_user_events(&self.0, &context, message).await?,
        ))
    }
}
