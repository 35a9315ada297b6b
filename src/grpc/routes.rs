//! Finds the service that a call is for.

use std::convert::Infallible;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use http::{Request, Response};
use hyper::body::Incoming;
use tonic::Status;
use tonic::body::Body;
use tower::Service;

use super::access::service_of;
use super::error::ApiError;
use super::health_service::HealthServiceImpl;
use super::reflection::{self, Reflection};
use super::{
    AuthServiceImpl, CredentialServiceImpl, OAuthAccountServiceImpl, SecurityServiceImpl, Services,
    SessionServiceImpl, StatusServiceImpl, UserServiceImpl,
};
use crate::config::LimitSettings;
use crate::health::Health;
use crate::proto::grpc::health::v1::health_server::{self, HealthServer};
use crate::proto::identity::v1::auth_service_server::{self, AuthServiceServer};
use crate::proto::identity::v1::credential_service_server::{self, CredentialServiceServer};
use crate::proto::identity::v1::o_auth_account_service_server::{self, OAuthAccountServiceServer};
use crate::proto::identity::v1::security_service_server::{self, SecurityServiceServer};
use crate::proto::identity::v1::session_service_server::{self, SessionServiceServer};
use crate::proto::identity::v1::status_service_server::{self, StatusServiceServer};
use crate::proto::identity::v1::user_service_server::{self, UserServiceServer};

/// The method that takes larger messages than the others.
const IMPORT_USERS: &str = "/identity.v1.UserService/ImportUsers";

/// What becomes of a call. There is always an answer; errors are answers, too.
pub(super) type Answer = BoxFuture<'static, Result<Response<Body>, Infallible>>;

/// The generated server of each service.
///
/// tonic's router would box every request and every answer once more, to choose among services that it does not know.
pub struct Routes {
    users: UserServiceServer<UserServiceImpl>,
    imports: UserServiceServer<UserServiceImpl>,
    auth: AuthServiceServer<AuthServiceImpl>,
    credentials: CredentialServiceServer<CredentialServiceImpl>,
    oauth_accounts: OAuthAccountServiceServer<OAuthAccountServiceImpl>,
    sessions: SessionServiceServer<SessionServiceImpl>,
    security: SecurityServiceServer<SecurityServiceImpl>,
    status: StatusServiceServer<StatusServiceImpl>,
    health: HealthServer<HealthServiceImpl>,
    reflection: Option<Reflection>,
}

impl Routes {
    /// Puts the services together.
    #[must_use]
    pub fn new(services: Services, health: Health, limits: LimitSettings, has_reflection: bool) -> Self {
        /// What an import may bring: a thousand users of four kilobytes.
        const MAX_IMPORT_BYTES: usize = 4 * 1024 * 1024;
        let max_bytes = limits.max_request_bytes;
        let users = UserServiceServer::new(services.users);
        Self {
            imports: users
                .clone()
                .max_decoding_message_size(MAX_IMPORT_BYTES.max(max_bytes)),
            users: users.max_decoding_message_size(max_bytes),
            auth: AuthServiceServer::new(services.auth).max_decoding_message_size(max_bytes),
            credentials: CredentialServiceServer::new(services.credentials)
                .max_decoding_message_size(max_bytes),
            oauth_accounts: OAuthAccountServiceServer::new(services.oauth_accounts)
                .max_decoding_message_size(max_bytes),
            sessions: SessionServiceServer::new(services.sessions).max_decoding_message_size(max_bytes),
            security: SecurityServiceServer::new(services.security).max_decoding_message_size(max_bytes),
            status: StatusServiceServer::new(services.status).max_decoding_message_size(max_bytes),
            health: HealthServer::new(HealthServiceImpl::new(health))
                .max_decoding_message_size(max_bytes),
            reflection: has_reflection.then(Reflection::default),
        }
    }

    /// Has the service of a call answer it.
    pub(super) fn call(&self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path();
        match (service_of(path).unwrap_or_default(), &self.reflection) {
            (user_service_server::SERVICE_NAME, _) if path == IMPORT_USERS => {
                self.imports.clone().call(request)
            }
            (user_service_server::SERVICE_NAME, _) => self.users.clone().call(request),
            (auth_service_server::SERVICE_NAME, _) => self.auth.clone().call(request),
            (credential_service_server::SERVICE_NAME, _) => self.credentials.clone().call(request),
            (o_auth_account_service_server::SERVICE_NAME, _) => {
                self.oauth_accounts.clone().call(request)
            }
            (session_service_server::SERVICE_NAME, _) => self.sessions.clone().call(request),
            (security_service_server::SERVICE_NAME, _) => self.security.clone().call(request),
            (status_service_server::SERVICE_NAME, _) => self.status.clone().call(request),
            (health_server::SERVICE_NAME, _) => self.health.clone().call(request),
            (reflection::V1, Some(reflection)) => reflection.v1(request),
            (reflection::V1_ALPHA, Some(reflection)) => reflection.v1_alpha(request),
            _ => ready(Ok(Status::from(ApiError::not_implemented()).into_http())).boxed(),
        }
    }
}
