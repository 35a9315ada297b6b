//! Signing out.

use super::{Authenticator, SignInError};
use crate::database::DatabaseError;
use crate::domain::{Command, EndSession, EndSessions, Origin, Refusal, SessionEndReason, SessionId};

impl Authenticator {
    /// Ends the session of a refresh token, or every session of its user. Returns how many were live.
    pub async fn sign_out(
        &self,
        token: &str,
        all_sessions: bool,
        origin: Origin,
    ) -> Result<usize, SignInError> {
        let presented = self.0.refresh_tokens.read(token).ok_or(Refusal::TokenInvalid)?;
        let ended = if all_sessions {
            self.end_all_beside(presented.session_id, origin).await
        } else {
            self.end_one(presented.session_id, origin).await
        };
        match ended {
            // Purged long ago, or deleted, with the user or without.
            Err(DatabaseError::Refused(Refusal::SessionNotFound(_) | Refusal::UserNotFound(_))) => Ok(0),
            answer => Ok(answer?),
        }
    }

    async fn end_one(&self, session_id: SessionId, origin: Origin) -> Result<usize, DatabaseError> {
        let end = EndSession {
            session_id,
            reason: SessionEndReason::SignedOut,
            now: self.0.clock.now(),
        };
        let (_, was_live) = self.0.sessions.end(Command::new(end, origin)).await?;
        Ok(usize::from(was_live))
    }

    /// Ends the session and all others of its user, at once.
    async fn end_all_beside(
        &self,
        session_id: SessionId,
        origin: Origin,
    ) -> Result<usize, DatabaseError> {
        // Whose a session is never changes, so that it can be looked up before it is ended.
        let session = self.0.sessions.get(session_id).await?;
        let end = EndSessions {
            user_id: session.user_id,
            reason: SessionEndReason::SignedOut,
            except: None,
            now: self.0.clock.now(),
        };
        self.0.sessions.end_all(Command::new(end, origin)).await
    }
}
