//! Signing out.

use super::{Authenticator, SignInError};
use crate::database::DatabaseError;
use crate::domain::{EndSessions, Refusal, SessionEndReason};

impl Authenticator {
    /// Ends the session of a refresh token, or every session of its user. Returns how many were live.
    pub async fn sign_out(&self, token: &str, all_sessions: bool) -> Result<usize, SignInError> {
        let presented = self.0.refresh_tokens.read(token).ok_or(Refusal::TokenInvalid)?;
        let reason = SessionEndReason::SignedOut;
        let now = self.0.clock.now();
        let (session, was_live) = match self.0.sessions.end(presented.session_id, reason, now).await {
            Ok(ended) => ended,
            // It was purged long ago.
            Err(DatabaseError::Refused(Refusal::SessionNotFound(_))) => return Ok(0),
            Err(error) => return Err(error.into()),
        };
        let ended = usize::from(was_live);
        if !all_sessions {
            return Ok(ended);
        }
        let others = EndSessions {
            user_id: session.user_id,
            reason,
            except: None,
            now,
        };
        match self.0.sessions.end_all(others).await {
            Ok(count) => Ok(ended + count),
            // Deleted since, and with the user every session.
            Err(DatabaseError::Refused(Refusal::UserNotFound(_))) => Ok(ended),
            Err(error) => Err(error.into()),
        }
    }
}
