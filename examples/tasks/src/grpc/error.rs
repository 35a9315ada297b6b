//! The one place where an error becomes a status: a code, a reason that programs can rely on, and details.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};
use uuid::Uuid;

use crate::access_tokens::TokenRefusal;
use crate::database::DatabaseError;
use crate::proto::tasks::v1::ErrorReason;
use crate::signing_keys::KeysUnavailable;

/// The domain of every reason.
const DOMAIN: &str = "tasks";

/// How long to wait before calling again, where that is worth it: a moment, as most outages are short.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why a call failed.
#[derive(Debug)]
pub(super) enum ApiError {
    /// There is no access token in the metadata.
    TokenRequired,
    /// The access token is not good.
    Token(TokenRefusal),
    /// Whether it is cannot be told.
    KeysUnavailable,
    /// Fields of the request are wrong.
    Invalid(Violations),
    /// The caller has no such task.
    TaskNotFound(Uuid),
    /// The database failed.
    Database(DatabaseError),
}

/// The fields of a request that are wrong: all of them, not the first.
#[derive(Debug, Default)]
pub(super) struct Violations(Vec<(String, ErrorReason, &'static str)>);

impl Violations {
    /// Notes that a field is wrong.
    pub(super) fn add(
        &mut self,
        field: impl Into<String>,
        reason: ErrorReason,
        description: &'static str,
    ) {
        self.0.push((field.into(), reason, description));
    }

    /// Returns `value` if nothing was wrong, and what was wrong otherwise.
    pub(super) fn finish<T>(self, value: Option<T>) -> Result<T, ApiError> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(ApiError::Invalid(self)),
        }
    }

    /// The reason for all of it: that of the violations if they agree.
    fn reason(&self) -> ErrorReason {
        match self.0.as_slice() {
            [(_, first, _), rest @ ..] if rest.iter().all(|(_, other, _)| other == first) => *first,
            _ => ErrorReason::InvalidFields,
        }
    }
}

impl From<DatabaseError> for ApiError {
    fn from(error: DatabaseError) -> Self {
        Self::Database(error)
    }
}

impl From<TokenRefusal> for ApiError {
    fn from(refusal: TokenRefusal) -> Self {
        Self::Token(refusal)
    }
}

impl From<KeysUnavailable> for ApiError {
    fn from(_: KeysUnavailable) -> Self {
        Self::KeysUnavailable
    }
}

impl From<ApiError> for Status {
    fn from(error: ApiError) -> Self {
        let mut details = ErrorDetails::new();
        let (code, reason, text) = match error {
            ApiError::TokenRequired => (
                Code::Unauthenticated,
                ErrorReason::TokenRequired,
                "an access token is needed in the metadata (authorization: Bearer ...)".to_owned(),
            ),
            // Its user was deleted while the token was still good.
            ApiError::Token(TokenRefusal::Invalid) | ApiError::Database(DatabaseError::NoSuchUser) => (
                Code::Unauthenticated,
                ErrorReason::TokenInvalid,
                "the token is not an access token of a user for this service".to_owned(),
            ),
            ApiError::Token(TokenRefusal::Expired) => (
                Code::Unauthenticated,
                ErrorReason::TokenExpired,
                "the access token has expired".to_owned(),
            ),
            ApiError::KeysUnavailable => {
                details.set_retry_info(Some(RETRY_AFTER));
                (
                    Code::Unavailable,
                    ErrorReason::KeysUnavailable,
                    "the key of the token is not known, and cannot be asked for".to_owned(),
                )
            }
            ApiError::Invalid(violations) => {
                let reason = violations.reason();
                let texts: Vec<String> = violations
                    .0
                    .iter()
                    .map(|(field, _, text)| format!("{field}: {text}"))
                    .collect();
                details.set_bad_request(violations.0.into_iter().map(violation).collect::<Vec<_>>());
                (Code::InvalidArgument, reason, texts.join("; "))
            }
            ApiError::TaskNotFound(id) => {
                details.set_resource_info("tasks.v1.Task", format!("tasks/{id}"), "", "");
                (
                    Code::NotFound,
                    ErrorReason::TaskNotFound,
                    "there is no such task".to_owned(),
                )
            }
            ApiError::Database(error @ DatabaseError::Unavailable(_)) => {
                tracing::warn!(%error, "a call failed");
                details.set_retry_info(Some(RETRY_AFTER));
                (
                    Code::Unavailable,
                    ErrorReason::DatabaseUnavailable,
                    "the database is not available".to_owned(),
                )
            }
            ApiError::Database(error @ DatabaseError::Internal(_)) => {
                tracing::error!(%error, "a call failed");
                (
                    Code::Internal,
                    ErrorReason::Internal,
                    "an internal error".to_owned(),
                )
            }
        };
        details.set_error_info(name_of(reason), DOMAIN, []);
        Self::with_error_details(code, text, details)
    }
}

fn violation((field, reason, description): (String, ErrorReason, &'static str)) -> FieldViolation {
    let mut violation = FieldViolation::new(field, description);
    violation.reason = name_of(reason);
    violation
}

/// The name of a reason on the wire: that of the enum value without its prefix.
fn name_of(reason: ErrorReason) -> String {
    let name = reason.as_str_name();
    name.strip_prefix("ERROR_REASON_").unwrap_or(name).to_owned()
}
