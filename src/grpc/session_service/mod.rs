//! `identity.v1.SessionService`.

mod get_session;
mod list_sessions;
mod revoke_all_sessions;
mod revoke_session;

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::PageTokens;
use super::call::CallContext;
use crate::proto::identity::v1::session_service_server::SessionService;
use crate::proto::identity::v1::{
    GetSessionRequest, GetSessionResponse, ListSessionsRequest, ListSessionsResponse,
    RevokeAllSessionsRequest, RevokeAllSessionsResponse, RevokeSessionRequest, RevokeSessionResponse,
};
use crate::repositories::SessionRepository;

/// Answers the calls of the service.
#[derive(Clone)]
pub struct SessionServiceImpl(Arc<Sessions>);

/// What the RPCs work with.
pub struct Sessions {
    /// The sessions.
    pub sessions: SessionRepository,
    /// Makes and reads page tokens.
    pub page_tokens: PageTokens,
}

impl SessionServiceImpl {
    /// Makes the service.
    #[must_use]
    pub fn new(sessions: Sessions) -> Self {
        Self(Arc::new(sessions))
    }
}

#[tonic::async_trait]
impl SessionService for SessionServiceImpl {
    async fn get_session(
        &self,
        request: Request<GetSessionRequest>,
    ) -> Result<Response<GetSessionResponse>, Status> {
        let (context, message) = CallContext::split(request)?;
        Ok(Response::new(
            get_session::get_session(&self.0, &context, message).await?,
        ))
    }

    async fn list_sessions(
        &self,
        request: Request<ListSessionsRequest>,
    ) -> Result<Response<ListSessionsResponse>, Status> {
        let (context, message) = CallContext::split(request)?;
        Ok(Response::new(
            list_sessions::list_sessions(&self.0, &context, message).await?,
        ))
    }

    async fn revoke_session(
        &self,
        request: Request<RevokeSessionRequest>,
    ) -> Result<Response<RevokeSessionResponse>, Status> {
        let (context, message) = CallContext::split(request)?;
        Ok(Response::new(
            revoke_session::revoke_session(&self.0, &context, message).await?,
        ))
    }

    async fn revoke_all_sessions(
        &self,
        request: Request<RevokeAllSessionsRequest>,
    ) -> Result<Response<RevokeAllSessionsResponse>, Status> {
        let (context, message) = CallContext::split(request)?;
        Ok(Response::new(
            revoke_all_sessions::revoke_all_sessions(&self.0, &context, message).await?,
        ))
    }
}
