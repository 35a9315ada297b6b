//! What callers see of errors of signing in.

use std::time::Duration;

use tonic::Code;

use super::ApiError;
use crate::domain::{MissingFields, ProfileField};
use crate::grpc::violations::Violations;
use crate::id_tokens::IdTokenError;
use crate::password_hashing::HashingError;
use crate::proto::identity::v1::ErrorReason;
use crate::sign_in::SignInError;

impl From<HashingError> for ApiError {
    fn from(error: HashingError) -> Self {
        match error {
            HashingError::Overloaded { retry_after } => Self::new(
                Code::ResourceExhausted,
                ErrorReason::HashingOverloaded,
                "too many passwords are waiting to be hashed",
            )
            .with_retry(retry_after),
            HashingError::Failed(_) => Self::internal(&error),
        }
    }
}

impl From<SignInError> for ApiError {
    fn from(error: SignInError) -> Self {
        match error {
            SignInError::Database(error) => error.into(),
            SignInError::Hashing(error) => error.into(),
            SignInError::Token(error) => error.into(),
            SignInError::IdToken(error) => error.into(),
            SignInError::ProfileIncomplete(missing) => incomplete(&missing),
            SignInError::Interrupted => Self::internal(&error),
        }
    }
}

impl From<IdTokenError> for ApiError {
    fn from(error: IdTokenError) -> Self {
        /// Who waits for whole seconds is never too early.
        const AT_LEAST: Duration = Duration::from_secs(1);
        match error {
            IdTokenError::Rejected => Self::unauthenticated(
                ErrorReason::IdTokenRejected,
                "the ID token is not one of the provider for this deployment that is good now",
            ),
            IdTokenError::Unavailable { retry_after } => Self::new(
                Code::Unavailable,
                ErrorReason::ProviderUnavailable,
                "the keys of the provider cannot be fetched",
            )
            .with_retry(retry_after.max(AT_LEAST)),
        }
    }
}

/// A user would be created who lacks what every user must have. The email is the provider's to say, so that the login
/// name to ask for is the other one.
fn incomplete(missing: &MissingFields) -> ApiError {
    let login_name = missing.login_name.then_some(ProfileField::Username);
    let mut violations = Violations::default();
    for field in missing.required.iter().copied().chain(login_name) {
        let name = format!("user.{}", field.name());
        violations.add(&name, ErrorReason::FieldRequired, "must be given");
    }
    violations.into()
}
