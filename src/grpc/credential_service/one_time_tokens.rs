//! What the RPCs of one-time tokens have in common.

use chrono::{DateTime, TimeDelta, Utc};

use super::Credentials;
use crate::domain::{NewOneTimeToken, OneTimeTokenPurpose, Refusal, User};
use crate::grpc::call::CallContext;
use crate::grpc::convert;
use crate::grpc::error::ApiError;
use crate::grpc::violations::Violations;
use crate::tokens::{OneTimeTokens, SecretToken};

/// A token that was made.
pub(super) struct IssuedToken {
    /// The token.
    pub(super) token: SecretToken,
    /// When it expires.
    pub(super) expires_at: DateTime<Utc>,
    /// Whom it is for.
    pub(super) user: User,
}

impl Credentials {
    /// Makes a token for a user.
    pub(super) async fn issue_token(
        &self,
        user_id: &str,
        purpose: OneTimeTokenPurpose,
        lifetime: TimeDelta,
        context: &CallContext,
    ) -> Result<IssuedToken, ApiError> {
        let mut violations = Violations::default();
        let id = convert::user_id("user_id", user_id, &mut violations);

        let (token, token_hash) = OneTimeTokens::issue()?;
        let expires_at = context.now + lifetime;
        let new = NewOneTimeToken {
            user_id: violations.finish(id)?,
            purpose,
            token_hash,
            expires_at,
            created_at: context.now,
        };
        let user = self.one_time_tokens.create(new).await?;
        Ok(IssuedToken {
            token,
            expires_at,
            user,
        })
    }

    /// Returns the form in which a token is stored, and whom it is for.
    pub(super) async fn find_by_token(
        &self,
        token: &SecretToken,
        purpose: OneTimeTokenPurpose,
        now: DateTime<Utc>,
    ) -> Result<([u8; 32], User), ApiError> {
        let token_hash = OneTimeTokens::read(token.reveal()).ok_or(Refusal::TokenInvalid)?;
        let user = self.one_time_tokens.find_user(purpose, token_hash, now).await?;
        Ok((token_hash, user))
    }
}
