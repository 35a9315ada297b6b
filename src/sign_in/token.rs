//! Telling whose access token it is, and whether it is still good.

use super::{Authenticator, SignInError};
use crate::domain::{Refusal, Session, User};
use crate::tokens::AccessClaims;

/// Somebody whose access token is good now.
#[derive(Debug, Clone)]
pub struct Authenticated {
    /// The user.
    pub user: User,
    /// The session.
    pub session: Session,
    /// What the token says.
    pub claims: AccessClaims,
}

impl Authenticator {
    /// Verifies an access token as any other service would, without asking whether its session goes on.
    pub fn read_token(&self, token: &str) -> Result<AccessClaims, SignInError> {
        Ok(self.0.access_tokens.verify(token, self.0.clock.now())?)
    }

    /// Verifies an access token, and that its session goes on, that its user is let in, and that the key that signed it
    /// was not given up. The database is asked every time, so that the answer is right at once on every replica.
    pub async fn authenticate(&self, token: &str) -> Result<Authenticated, SignInError> {
        self.look_up(self.read_token(token)?).await
    }

    /// Does what is left to do to authenticate the token with these claims.
    pub async fn look_up(&self, claims: AccessClaims) -> Result<Authenticated, SignInError> {
        let now = self.0.clock.now();
        let found = self
            .0
            .sessions
            .get_for_token(claims.session_id, &claims.kid)
            .await?;
        let (session, user) = found.ok_or(Refusal::SessionEnded)?;
        let is_revoked = user
            .tokens_valid_after
            .is_some_and(|time| claims.is_issued_before(time));
        let is_good = session.is_live(now)
            && session.user_id == claims.user_id
            && user.check_state().is_ok()
            && !is_revoked;
        if !is_good {
            return Err(Refusal::SessionEnded.into());
        }
        Ok(Authenticated {
            user,
            session,
            claims,
        })
    }
}
