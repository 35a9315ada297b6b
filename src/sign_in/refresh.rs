//! Exchanging refresh tokens.

use chrono::{DateTime, Utc};

use super::{Authenticator, SessionTokens, SignInError};
use crate::domain::{
    Client, Command, Origin, Refresh, RefreshSession, RefreshedSession, Refusal, Rotation, Session,
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
        match self.0.sessions.rotate(&rotation).await? {
            Some(session) => self.tokens(session, rotation.now),
            None => self.decide(rotation, origin).await,
        }
    }

    /// Finds out what becomes of a refresh token, and does it.
    async fn decide(&self, rotation: Rotation, origin: Origin) -> Result<SessionTokens, SignInError> {
        let (session_id, now) = (rotation.session_id, rotation.now);
        let found = self.0.sessions.get_with_user(session_id).await?;
        let (session, user) = found.ok_or(Refusal::TokenInvalid)?;
        let decision = session.refresh(rotation.generation, now);
        let is_let_in =
            session.client.client_id == rotation.client.client_id && user.check_state().is_ok();
        // Of many that present one token at once, all but the first find it exchanged, and need no transaction.
        if decision == Refresh::Repeat && is_let_in {
            return self.tokens(session, now);
        }
        let refresh = RefreshSession {
            user_id: session.user_id,
            rotation,
        };
        let expected = (decision == Refresh::Rotate && is_let_in)
            .then(|| session.rotated(self.0.session_policy, now));
        let refreshed = self.0.sessions.refresh(Command::new(refresh, origin));
        let (outcome, ahead) = tokio::join!(refreshed, self.tokens_ahead(expected, now));
        match outcome? {
            RefreshedSession::Refreshed(stored) => match ahead {
                Some(tokens) if tokens.session == stored => Ok(tokens),
                _ => self.tokens(stored, now),
            },
            RefreshedSession::Refused(refusal) => {
                if refusal == Refusal::TokenReused {
                    tracing::warn!(session = %session_id, "a used refresh token was presented; the session has ended");
                }
                Err(refusal.into())
            }
        }
    }

    /// Issues the tokens of a session as it is about to be, while the database writes it, so that neither waits for the
    /// other. Nobody gets them before it is so. None if nothing is expected, or if they could not be issued.
    async fn tokens_ahead(
        &self,
        expected: Option<Session>,
        now: DateTime<Utc>,
    ) -> Option<SessionTokens> {
        let session = expected?;
        // What was sent to the database is to leave this thread first.
        tokio::task::yield_now().await;
        self.tokens(session, now).ok()
    }
}
