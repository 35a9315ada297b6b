//! Errors as callers see them: a code, a reason that programs can rely on, and details.
//!
//! An RPC returns an [`ApiError`]. It is made from the errors of the modules below by `From`, and becomes a
//! [`Status`] in one place. Nothing but the texts written here reaches the wire: no SQL, no path, no text
//! of a library.

mod sign_in;

use std::collections::HashMap;
use std::time::Duration;

use chrono::TimeDelta;
use prost::Message;
use prost_types::Any;
use tonic::{Code, Status};
use tonic_types::pb::bad_request::FieldViolation;
use tonic_types::pb::precondition_failure::Violation as PreconditionViolation;
use tonic_types::pb::{
    BadRequest, ErrorInfo, PreconditionFailure, RequestInfo, ResourceInfo, RetryInfo,
    Status as RpcStatus,
};
use uuid::Uuid;

use super::violations::{Violations, reason_name};
use crate::database::DatabaseError;
use crate::domain::{Refusal, UserId};
use crate::proto::identity::v1::ErrorReason;
use crate::tokens::TokenError;

/// The domain of every `google.rpc.ErrorInfo`.
const DOMAIN: &str = "identity";

/// When it is worth calling again while the database is away or the server ends: about as soon as the
/// health could have changed.
const RETRY_OUTAGE: Duration = Duration::from_secs(1);

/// When it is worth repeating a change that others got in the way of.
const RETRY_CONFLICT: Duration = Duration::from_millis(100);

/// An error of a call. Boxed, because most calls have none.
#[derive(Debug)]
pub(crate) struct ApiError(Box<Parts>);

#[derive(Debug)]
struct Parts {
    code: Code,
    reason: ErrorReason,
    message: String,
    metadata: HashMap<String, String>,
    violations: Vec<FieldViolation>,
    resource: Option<ResourceInfo>,
    retry_after: Option<Duration>,
    request: Option<RequestInfo>,
    precondition: Option<PreconditionViolation>,
}

impl ApiError {
    fn new(code: Code, reason: ErrorReason, message: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            code,
            reason,
            message: message.into(),
            metadata: HashMap::new(),
            violations: Vec::new(),
            resource: None,
            retry_after: None,
            request: None,
            precondition: None,
        }))
    }

    fn with_retry(mut self, retry_after: Duration) -> Self {
        self.0.retry_after = Some(retry_after);
        self
    }

    fn with_resource(mut self, resource_name: String) -> Self {
        self.0.resource = Some(ResourceInfo {
            resource_type: "identity.v1.User".to_owned(),
            resource_name,
            ..ResourceInfo::default()
        });
        self
    }

    /// The bytes are not a message.
    pub(crate) fn malformed() -> Self {
        Self::new(
            Code::InvalidArgument,
            ErrorReason::MalformedRequest,
            "the request is not a valid message of its type",
        )
    }

    /// The message is too large.
    pub(crate) fn too_large() -> Self {
        Self::new(
            Code::ResourceExhausted,
            ErrorReason::MessageTooLarge,
            "the request is larger than the server accepts",
        )
    }

    /// There is no such method.
    pub(crate) fn not_implemented() -> Self {
        Self::new(
            Code::Unimplemented,
            ErrorReason::NotImplemented,
            "there is no such service or method, or its encoding is not supported",
        )
    }

    /// The deadline passed.
    pub(crate) fn deadline_exceeded() -> Self {
        Self::new(
            Code::DeadlineExceeded,
            ErrorReason::DeadlineExceeded,
            "the deadline passed before the call was finished",
        )
    }

    /// The database cannot be used.
    pub(crate) fn unavailable() -> Self {
        Self::new(
            Code::Unavailable,
            ErrorReason::DatabaseUnavailable,
            "the database is not available; a change may or may not have taken effect",
        )
        .with_retry(RETRY_OUTAGE)
    }

    /// The server is about to end.
    pub(crate) fn ending() -> Self {
        Self::new(
            Code::Unavailable,
            ErrorReason::DatabaseUnavailable,
            "the server is ending; call again to reach another one",
        )
        .with_retry(RETRY_OUTAGE)
    }

    /// A fault of the service. What happened is logged under an id that the caller gets to see.
    pub(crate) fn internal(what: &dyn std::fmt::Display) -> Self {
        let error_id = Uuid::new_v4().to_string();
        tracing::error!(error_id, error = %what, "internal error");
        let mut error = Self::new(Code::Internal, ErrorReason::Internal, "internal error");
        error.0.request = Some(RequestInfo {
            request_id: error_id,
            serving_data: String::new(),
        });
        error
    }

    /// One field is taken by another user.
    fn taken(reason: ErrorReason, field: &str, message: &str) -> Self {
        let mut error = Self::new(Code::AlreadyExists, reason, message).with_resource(String::new());
        error.0.violations = vec![FieldViolation {
            field: field.to_owned(),
            description: message.to_owned(),
            reason: reason_name(reason),
            localized_message: None,
        }];
        error
    }

    /// The health of a service that does not exist was asked for.
    pub(crate) fn unknown_service() -> Self {
        Self::new(
            Code::NotFound,
            ErrorReason::ServiceNotFound,
            "there is no service of that name",
        )
    }

    /// The caller may not call the method, for which a service needs a scope, if it is for services at all.
    pub(crate) fn permission_denied(scope: &str) -> Self {
        let message = if scope.is_empty() {
            "only users may call this method, for themselves".to_owned()
        } else {
            format!("the caller does not have the scope {scope}")
        };
        let mut error = Self::new(Code::PermissionDenied, ErrorReason::PermissionDenied, message);
        error.0.metadata.insert("scope".to_owned(), scope.to_owned());
        error
    }

    /// The caller calls too often.
    pub(crate) fn rate_limited(retry_after: Duration) -> Self {
        Self::new(
            Code::ResourceExhausted,
            ErrorReason::RateLimited,
            "the caller calls more often than it may",
        )
        .with_retry(retry_after)
    }

    /// The caller could not show who it is, or for whom it calls.
    fn unauthenticated(reason: ErrorReason, message: &str) -> Self {
        Self::new(Code::Unauthenticated, reason, message)
    }

    /// A user is not in the state that the call needs.
    fn precondition(reason: ErrorReason, id: UserId, message: &str) -> Self {
        Self::failed_precondition(reason, format!("users/{id}"), message)
    }

    fn failed_precondition(reason: ErrorReason, subject: String, message: &str) -> Self {
        let mut error = Self::new(Code::FailedPrecondition, reason, message);
        error.0.precondition = Some(PreconditionViolation {
            r#type: reason_name(reason),
            subject,
            description: message.to_owned(),
        });
        error
    }

    /// Somebody has to wait before the next attempt.
    fn too_many_attempts(retry_after: TimeDelta) -> Self {
        /// Who waits for whole seconds is never too early.
        const AT_LEAST: u64 = 1;
        let wait = retry_after.to_std().unwrap_or_default();
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let seconds = seconds.max(AT_LEAST);
        let mut error = Self::new(
            Code::ResourceExhausted,
            ErrorReason::TooManyAttempts,
            format!("too many attempts failed; try again in {seconds} seconds"),
        );
        error
            .0
            .metadata
            .insert("retry_after_seconds".to_owned(), seconds.to_string());
        error.with_retry(Duration::from_secs(seconds))
    }

    /// What the caller wants to resume is not kept any more.
    pub(crate) fn resume_token_expired() -> Self {
        let reason = ErrorReason::ResumeTokenExpired;
        let message = "the resume token is older than the events that are kept; begin with a snapshot";
        let mut error = Self::new(Code::OutOfRange, reason, message);
        error.0.precondition = Some(PreconditionViolation {
            r#type: reason_name(reason),
            subject: "resume_token".to_owned(),
            description: message.to_owned(),
        });
        error
    }

    /// No user is known by what the caller asked for.
    pub(crate) fn user_not_found(resource_name: String) -> Self {
        Self::new(Code::NotFound, ErrorReason::UserNotFound, "there is no such user")
            .with_resource(resource_name)
    }
}

impl From<Violations> for ApiError {
    fn from(violations: Violations) -> Self {
        let (reason, message, metadata, violations) = violations.into_parts();
        let mut error = Self::new(Code::InvalidArgument, reason, message);
        error.0.metadata = metadata;
        error.0.violations = violations;
        error
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::UserNotFound(id) => Self::user_not_found(format!("users/{id}")),
            Refusal::EtagMismatch(id) => Self::new(
                Code::Aborted,
                ErrorReason::EtagMismatch,
                "the user was changed since its etag was read",
            )
            .with_resource(format!("users/{id}")),
            Refusal::EmailTaken => Self::taken(
                ErrorReason::EmailTaken,
                "user.email",
                "another user has this email",
            ),
            Refusal::UsernameTaken => Self::taken(
                ErrorReason::UsernameTaken,
                "user.username",
                "another user has this username",
            ),
            Refusal::UserIdTaken => {
                Self::taken(ErrorReason::UserIdTaken, "user_id", "another user has this id")
            }
            Refusal::RequestIdReused => Self::from(Violations::one(
                "request_id",
                ErrorReason::RequestIdReused,
                "was used for another request",
            )),
            Refusal::IdentifierRequired => Self::from(Violations::one(
                "user.email",
                ErrorReason::FieldRequired,
                "a user needs an email or a username",
            )),
            Refusal::InvalidCredentials => Self::unauthenticated(
                ErrorReason::InvalidCredentials,
                "login name and password do not belong together",
            ),
            Refusal::TokenRequired => Self::unauthenticated(
                ErrorReason::TokenRequired,
                "a token is needed in the metadata (authorization: Bearer ...)",
            ),
            Refusal::TokenInvalid => Self::unauthenticated(
                ErrorReason::TokenInvalid,
                "the token is not one of this service for this purpose",
            ),
            Refusal::TokenExpired => {
                Self::unauthenticated(ErrorReason::TokenExpired, "the token has expired")
            }
            Refusal::TokenReused => {
                Self::unauthenticated(ErrorReason::TokenReused, "the token has been used before")
            }
            Refusal::SessionEnded => {
                Self::unauthenticated(ErrorReason::SessionEnded, "the session of the token has ended")
            }
            Refusal::TooManyAttempts { retry_after } => Self::too_many_attempts(retry_after),
            Refusal::UserBlocked(id) => {
                Self::precondition(ErrorReason::UserBlocked, id, "the user is blocked")
            }
            Refusal::UserInactive(id) => {
                Self::precondition(ErrorReason::UserInactive, id, "the user is inactive")
            }
            Refusal::LastCredential(id) => Self::precondition(
                ErrorReason::LastCredential,
                id,
                "it is the only way the user can sign in",
            ),
            Refusal::EmailRequired(id) => {
                Self::precondition(ErrorReason::EmailRequired, id, "the user has no email")
            }
            Refusal::SignUpDisabled => Self::failed_precondition(
                ErrorReason::SignUpDisabled,
                "identity.v1.AuthService".to_owned(),
                "people cannot sign up by themselves here",
            ),
            Refusal::LinkRequired => Self::failed_precondition(
                ErrorReason::LinkRequired,
                "identity.v1.OAuthAccountService".to_owned(),
                "a user has the email of the account; sign in as before and link the account",
            ),
            Refusal::IdentityTaken => {
                let text = "the account is linked with another user";
                let mut error = Self::taken(ErrorReason::IdentityTaken, "id_token", text);
                if let Some(resource) = &mut error.0.resource {
                    "identity.v1.OAuthAccount".clone_into(&mut resource.resource_type);
                }
                error
            }
            Refusal::OAuthAccountNotFound(id) => {
                let text = "the user has no such account";
                let mut error = Self::new(Code::NotFound, ErrorReason::OauthAccountNotFound, text);
                error.0.resource = Some(ResourceInfo {
                    resource_type: "identity.v1.OAuthAccount".to_owned(),
                    resource_name: format!("oauthAccounts/{id}"),
                    ..ResourceInfo::default()
                });
                error
            }
            Refusal::ReauthenticationRequired => Self::unauthenticated(
                ErrorReason::ReauthenticationRequired,
                "the user has signed in too long ago, and has to sign in again",
            ),
            Refusal::SessionNotFound(id) => {
                let text = "there is no such session";
                let mut error = Self::new(Code::NotFound, ErrorReason::SessionNotFound, text);
                error.0.resource = Some(ResourceInfo {
                    resource_type: "identity.v1.Session".to_owned(),
                    resource_name: format!("sessions/{id}"),
                    ..ResourceInfo::default()
                });
                error
            }
        }
    }
}

impl From<DatabaseError> for ApiError {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Refused(refusal) => refusal.into(),
            DatabaseError::Unavailable(_) | DatabaseError::TimedOut => {
                tracing::warn!(%error, "the database is not available");
                Self::unavailable()
            }
            DatabaseError::Conflict(_) => Self::new(
                Code::Aborted,
                ErrorReason::ConcurrentChange,
                "other changes got in the way; nothing was changed",
            )
            .with_retry(RETRY_CONFLICT),
            DatabaseError::Internal(_) => Self::internal(&error),
        }
    }
}

impl From<TokenError> for ApiError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Database(error) => error.into(),
            TokenError::WrongMasterKey
            | TokenError::NoActiveKey
            | TokenError::UnknownKey
            | TokenError::NoRandomness => Self::internal(&error),
        }
    }
}

impl From<ApiError> for Status {
    fn from(ApiError(error): ApiError) -> Self {
        let mut details = vec![pack(
            "google.rpc.ErrorInfo",
            &ErrorInfo {
                reason: reason_name(error.reason),
                domain: DOMAIN.to_owned(),
                metadata: error.metadata,
            },
        )];
        if !error.violations.is_empty() {
            let field_violations = error.violations;
            details.push(pack("google.rpc.BadRequest", &BadRequest { field_violations }));
        }
        if let Some(resource) = &error.resource {
            details.push(pack("google.rpc.ResourceInfo", resource));
        }
        if let Some(retry_after) = error.retry_after {
            let retry_delay = prost_types::Duration::try_from(retry_after).ok();
            details.push(pack("google.rpc.RetryInfo", &RetryInfo { retry_delay }));
        }
        if let Some(violation) = error.precondition {
            let violations = vec![violation];
            details.push(pack(
                "google.rpc.PreconditionFailure",
                &PreconditionFailure { violations },
            ));
        }
        if let Some(request) = &error.request {
            details.push(pack("google.rpc.RequestInfo", request));
        }
        let status = RpcStatus {
            code: error.code.into(),
            message: error.message.clone(),
            details,
        };
        Self::with_details(error.code, error.message, status.encode_to_vec().into())
    }
}

fn pack(type_name: &str, message: &impl Message) -> Any {
    Any {
        type_url: format!("type.googleapis.com/{type_name}"),
        value: message.encode_to_vec(),
    }
}
