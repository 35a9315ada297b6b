//! Exchanging refresh tokens.

use chrono::{DateTime, Utc};

use super::{Authenticator, SessionTokens, SignInError};
use crate::database::DatabaseError;
use crate::domain::{
    Client, Command, NewRefreshToken, Origin, Refresh, RefreshSession, RefreshedSession, Refusal,
    Rotation, Session,
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
        let rotation = (decision == Refresh::Rotate && is_let_in).then(|| Rotation {
            token_hash: presented.token_hash,
            generation: presented.generation,
            user_version: user.version,
            next: NewRefreshToken {
                session: session.clone().rotated(self.0.session_policy, now),
                token_hash: next_token_hash,
                client: client.clone(),
                created_at: now,
            },
        });
        let expected = rotation.as_ref().map(|rotation| rotation.next.session.clone());
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
        let exchange = self.exchange(rotation, Command::new(refresh, origin));
        let (exchanged, ahead) = tokio::join!(exchange, self.tokens_ahead(expected, now));
        match exchanged? {
            RefreshedSession::Refreshed(refreshed) => match ahead {
                Some(tokens) if tokens.session == refreshed => Ok(tokens),
                _ => self.tokens(refreshed, now),
            },
            RefreshedSession::Refused(refusal) => {
                if refusal == Refusal::TokenReused {
                    tracing::warn!(session = %presented.session_id, "a used refresh token was presented; the session has ended");
                }
                Err(refusal.into())
            }
        }
    }

    /// Writes an exchange that was decided on what was read, if that is still so, and otherwise decides again.
    async fn exchange(
        &self,
        rotation: Option<Rotation>,
        refresh: Command<RefreshSession>,
    ) -> Result<RefreshedSession, DatabaseError> {
        if let Some(rotation) = rotation
            && let Some(rotated) = self.0.sessions.rotate(rotation).await?
        {
            return Ok(RefreshedSession::Refreshed(rotated));
        }
        self.0.sessions.refresh(refresh).await
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
