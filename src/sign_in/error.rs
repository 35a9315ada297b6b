//! Why somebody is not signed in.

use crate::database::DatabaseError;
use crate::domain::{MissingFields, Refusal};
use crate::id_tokens::IdTokenError;
use crate::password_hashing::HashingError;
use crate::tokens::TokenError;

/// Why a flow did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// The database failed, or the answer is no for a reason of the domain.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The password could not be looked at.
    #[error(transparent)]
    Hashing(#[from] HashingError),
    /// No token could be made.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The ID token was not accepted.
    #[error(transparent)]
    IdToken(#[from] IdTokenError),
    /// A user would be created who lacks these fields.
    #[error("a new user would lack what every user must have")]
    ProfileIncomplete(MissingFields),
    /// A part of the flow panicked.
    #[error("a part of the flow ended early")]
    Interrupted,
}

impl From<Refusal> for SignInError {
    fn from(refusal: Refusal) -> Self {
        Self::Database(refusal.into())
    }
}
