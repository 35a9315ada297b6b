//! The gRPC interface: one RPC per file, each of which converts, calls and answers. No SQL, no rules.

mod access;
mod auth_service;
mod authorize;
mod call;
mod convert;
mod correlation;
mod credential_service;
mod error;
mod health_service;
mod oauth_account_service;
mod page;
mod page_token;
mod rate_limit;
mod reflection;
mod request_id;
mod resume_token;
mod seal;
mod security_service;
mod session_service;
mod status_service;
mod user_service;
mod violations;

use std::collections::{BTreeSet, HashSet};

use tonic::service::Routes;

pub use auth_service::{Auth, AuthServiceImpl};
pub use authorize::{Authorizer, Caller};
pub use call::{CallContext, CallLayer, CallService};
pub use credential_service::{CredentialServiceImpl, Credentials};
pub use oauth_account_service::{OAuthAccountServiceImpl, OAuthAccounts};
pub use page_token::PageTokens;
pub use request_id::RequestFingerprints;
pub use resume_token::ResumeTokens;
pub use security_service::{Security, SecurityServiceImpl};
pub use session_service::{SessionServiceImpl, Sessions};
pub use status_service::{ServerStatus, StatusServiceImpl};
pub use user_service::{UserServiceImpl, Users};

use crate::config::LimitSettings;
use crate::health::Health;
use crate::proto::grpc::health::v1::health_server::HealthServer;
use crate::proto::identity::v1::auth_service_server::AuthServiceServer;
use crate::proto::identity::v1::credential_service_server::CredentialServiceServer;
use crate::proto::identity::v1::o_auth_account_service_server::OAuthAccountServiceServer;
use crate::proto::identity::v1::security_service_server::SecurityServiceServer;
use crate::proto::identity::v1::session_service_server::SessionServiceServer;
use crate::proto::identity::v1::status_service_server::StatusServiceServer;
use crate::proto::identity::v1::user_service_server::UserServiceServer;
use health_service::HealthServiceImpl;
use reflection::OnDemand;

/// Returns the full names of the services of this API.
#[must_use]
pub fn service_names() -> BTreeSet<&'static str> {
    let services = method_paths().into_iter().filter_map(|path| {
        let (service, _) = path.strip_prefix('/')?.split_once('/')?;
        service.starts_with("identity.v1.").then_some(service)
    });
    services.collect()
}

/// Returns the status of calls that end because the server does.
#[must_use]
pub fn ending() -> tonic::Status {
    error::ApiError::ending().into()
}

/// Returns the paths of all methods: the only values the metric label can have.
#[must_use]
pub fn method_paths() -> HashSet<&'static str> {
    access::accesses().into_keys().collect()
}

/// The services of this API.
#[derive(Clone)]
pub struct Services {
    /// Users.
    pub users: UserServiceImpl,
    /// Signing in.
    pub auth: AuthServiceImpl,
    /// Passwords and email addresses.
    pub credentials: CredentialServiceImpl,
    /// Accounts at providers.
    pub oauth_accounts: OAuthAccountServiceImpl,
    /// Sessions.
    pub sessions: SessionServiceImpl,
    /// Attempts to sign in.
    pub security: SecurityServiceImpl,
    /// The state of the server.
    pub status: StatusServiceImpl,
}

/// The method that takes larger messages than the others.
const IMPORT_USERS: &str = "/identity.v1.UserService/ImportUsers";

/// Puts the services together.
pub fn routes(
    services: Services,
    health: Health,
    limits: LimitSettings,
    has_reflection: bool,
) -> Routes {
    /// What an import may bring: a thousand users of four kilobytes.
    const MAX_IMPORT_BYTES: usize = 4 * 1024 * 1024;
    let max_bytes = limits.max_request_bytes;
    let imports = UserServiceServer::new(services.users.clone())
        .max_decoding_message_size(MAX_IMPORT_BYTES.max(max_bytes));
    let mut routes = Routes::default();
    routes = routes
        .add_service(UserServiceServer::new(services.users).max_decoding_message_size(max_bytes))
        .add_service(AuthServiceServer::new(services.auth).max_decoding_message_size(max_bytes))
        .add_service(
            CredentialServiceServer::new(services.credentials).max_decoding_message_size(max_bytes),
        )
        .add_service(
            OAuthAccountServiceServer::new(services.oauth_accounts).max_decoding_message_size(max_bytes),
        )
        .add_service(SessionServiceServer::new(services.sessions).max_decoding_message_size(max_bytes))
        .add_service(SecurityServiceServer::new(services.security).max_decoding_message_size(max_bytes))
        .add_service(StatusServiceServer::new(services.status).max_decoding_message_size(max_bytes))
        .add_service(
            HealthServer::new(HealthServiceImpl::new(health)).max_decoding_message_size(max_bytes),
        );
    if has_reflection {
        routes = routes
            .add_service(OnDemand::new(|| reflection::descriptors().build_v1()))
            .add_service(OnDemand::new(|| reflection::descriptors().build_v1alpha()));
    }
    // Found before the service that it belongs to, whose methods take less.
    let routes = routes.into_axum_router().route_service(IMPORT_USERS, imports);
    Routes::from(routes).prepare()
}
