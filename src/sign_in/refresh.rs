//! Exchanging refresh tokens.

use super::{Authenticator, SessionTokens, SignInError};
use crate::domain::{
    Client, Command, NewRefreshToken, Origin, Refresh, RefreshSession, RefreshedSession, Refusal,
    Rotation,
};

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
        let now = self.0.clock.now();
        let found = self.0.sessions.get_with_user(presented.session_id).await?;
        let (session, user) = found.ok_or(Refusal::TokenInvalid)?;
        let decision = session.refresh(presented.generation, now);
        let is_let_in = session.client.client_id == client.client_id && user.check_state().is_ok();
        // Of many that present one token at once, all but the first find it exchanged, and need no transaction.
        if decision == Refresh::Repeat && is_let_in {
            return self.tokens(session, now);
        }
        let next = presented.generation.saturating_add(1);
        let (_, next_token_hash) = self.0.refresh_tokens.issue(presented.session_id, next);
        if decision == Refresh::Rotate && is_let_in {
            let rotation = Rotation {
                token_hash: presented.token_hash,
                generation: presented.generation,
                user_version: user.version,
                next: NewRefreshToken {
                    session: session.clone().rotated(self.0.session_policy, now),
                    token_hash: next_token_hash,
                    client: client.clone(),
                    created_at: now,
                },
            };
            if let Some(rotated) = self.0.sessions.rotate(rotation).await? {
                return self.tokens(rotated, now);
            }
        }
        let refresh = RefreshSession {
            session_id: presented.session_id,
            user_id: session.user_id,
            generation: presented.generation,
            token_hash: presented.token_hash,
            next_token_hash,
            client,
            policy: self.0.session_policy,
            now,
        };
        match self.0.sessions.refresh(Command::new(refresh, origin)).await? {
            RefreshedSession::Refreshed(refreshed) => self.tokens(refreshed, now),
            RefreshedSession::Refused(refusal) => {
                if refusal == Refusal::TokenReused {
                    tracing::warn!(session = %presented.session_id, "a used refresh token was presented; the session has ended");
                }
                Err(refusal.into())
            }
        }
    }
}
