//! Exchanging refresh tokens.

use super::{Authenticator, SessionTokens, SignInError};
use crate::domain::{Client, Command, Origin, RefreshedSession, Refusal, Rotation};

impl Authenticator {
    /// Exchanges a refresh token for the next tokens of its session.
    pub async fn refresh(
        &self,
        token: &str,
        client: Client,
        origin: Origin,
    ) -> Result<SessionTokens, SignInError> {
        let outcome = self.try_refresh(token, client, origin).await;
        self.0.metrics.count_refresh(&outcome);
        outcome
    }

    async fn try_refresh(
        &self,
        token: &str,
        client: Client,
        origin: Origin,
    ) -> Result<SessionTokens, SignInError> {
        // What this service did not issue never reaches the database.
        let presented = self.0.refresh_tokens.read(token).ok_or(Refusal::TokenInvalid)?;
        let next = presented.generation.saturating_add(1);
        let (_, next_token_hash) = self.0.refresh_tokens.issue(presented.session_id, next);
        let rotation = Rotation {
            session_id: presented.session_id,
            generation: presented.generation,
            token_hash: presented.token_hash,
            next_token_hash,
            client,
            policy: self.0.session_policy,
            now: self.0.clock.now(),
        };
        let (session_id, now) = (rotation.session_id, rotation.now);
        let refreshed = self.0.sessions.refresh(Command::new(rotation, origin)).await?;
        match refreshed {
            RefreshedSession::Refreshed(session) => self.tokens(session, now),
            RefreshedSession::Refused(refusal) => {
                if refusal == Refusal::TokenReused {
                    tracing::warn!(session = %session_id, "a used refresh token was presented; the session has ended");
                }
                Err(refusal.into())
            }
        }
    }
}
