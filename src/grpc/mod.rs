//! The gRPC interface: one RPC per file, each of which converts, calls and answers. No SQL, no rules.

mod access;
mod auth_service;
mod authorize;
mod call;
mod codec;
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
mod routes;
mod seal;
mod security_service;
mod session_service;
mod status_service;
mod user_service;
mod violations;

use std::collections::{BTreeSet, HashSet};

pub use auth_service::{Auth, AuthServiceImpl};
pub use authorize::{Authorizer, Caller};
pub use call::{CallContext, CallFuture, CallService};
pub use codec::Codec;
pub use credential_service::{CredentialServiceImpl, Credentials};
pub use oauth_account_service::{OAuthAccountServiceImpl, OAuthAccounts};
pub use page_token::PageTokens;
pub use request_id::RequestFingerprints;
pub use resume_token::ResumeTokens;
pub use routes::Routes;
pub use security_service::{Security, SecurityServiceImpl};
pub use session_service::{SessionServiceImpl, Sessions};
pub use status_service::{ServerStatus, StatusServiceImpl};
pub use user_service::{UserServiceImpl, Users};

/// Returns the full names of the services of this API.
#[must_use]
pub fn service_names() -> BTreeSet<&'static str> {
    let services = access::methods().filter_map(|method| access::service_of(method.path));
    services
        .filter(|service| service.starts_with("identity.v1."))
        .collect()
}

/// Returns the status of calls that end because the server does.
#[must_use]
pub fn ending() -> tonic::Status {
    error::ApiError::ending().into()
}

/// Returns the paths of all methods.
#[must_use]
pub fn method_paths() -> HashSet<&'static str> {
    access::methods().map(|method| method.path).collect()
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
