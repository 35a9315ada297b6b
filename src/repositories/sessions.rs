//! Sessions as they are stored.

use chrono::{DateTime, Utc};

use crate::database::{Database, DatabaseError, DatabaseKind, read, shared_read, transaction};
use crate::domain::{
    Command, EndSession, EndSessions, ListSessions, NewSignUp, Refresh, RefreshedSession, Refusal,
    Rotation, Session, SessionId, SignInDecision, SignUpDecision, User, VerifiedSignIn,
};

/// Begins, reads, refreshes and ends sessions. Cheap to clone.
#[derive(Clone)]
pub struct SessionRepository {
    database: Database,
}

impl SessionRepository {
    /// Makes a repository over a database.
    #[must_use]
    pub const fn new(database: Database) -> Self {
        Self { database }
    }

    /// Begins the session of a user whose password is right, unless the user is kept out.
    pub async fn begin(&self, sign_in: VerifiedSignIn) -> Result<SignInDecision, DatabaseError> {
        transaction!(self.database, sign_ins::complete, sign_in)
    }

    /// Creates a user and begins the first session, once per request id.
    pub async fn sign_up(&self, sign_up: Command<NewSignUp>) -> Result<SignUpDecision, DatabaseError> {
        transaction!(self.database, sign_ins::sign_up, sign_up)
    }

    /// Returns a session.
    pub async fn get(&self, id: SessionId) -> Result<Session, DatabaseError> {
        let session: Option<Session> = read!(self.database, sessions::get, id)?;
        session.ok_or_else(|| Refusal::SessionNotFound(id).into())
    }

    /// Returns a session and its user for a token signed by a key, if the session exists and the key was not
    /// given up.
    pub async fn get_for_token(
        &self,
        id: SessionId,
        kid: &str,
    ) -> Result<Option<(Session, User)>, DatabaseError> {
        shared_read!(self.database, sessions_for_token, (id, kid.to_owned()))
    }

    /// Returns a page of the sessions of a user, the newest first.
    pub async fn list(&self, list: ListSessions) -> Result<Vec<Session>, DatabaseError> {
        read!(self.database, sessions::list, list)
    }

    /// Exchanges a refresh token and returns its session, if a single statement can do so. If it does not, that says
    /// nothing of the token: [`Self::refresh`] finds out what is to be done.
    pub async fn rotate(&self, rotation: &Rotation) -> Result<Option<Session>, DatabaseError> {
        self.database.rotate_at_once(rotation).await
    }

    /// Exchanges a refresh token, or says why not.
    pub async fn refresh(&self, refresh: Command<Rotation>) -> Result<RefreshedSession, DatabaseError> {
        if self.database.kind() == DatabaseKind::Postgres
            && let Some(session) = self.refresh_without_transaction(&refresh.value).await?
        {
            return Ok(RefreshedSession::Refreshed(session));
        }
        transaction!(self.database, sessions::refresh, refresh)
    }

    /// Returns the session of a token that a single statement exchanges, or that was exchanged a moment ago: of many that
    /// present one token at once, all but the first find it so. A transaction would take a round trip for each of its
    /// statements, which SQLite does not have.
    async fn refresh_without_transaction(
        &self,
        rotation: &Rotation,
    ) -> Result<Option<Session>, DatabaseError> {
        if let Some(session) = self.rotate(rotation).await? {
            return Ok(Some(session));
        }
        let found: Option<(Session, User)> =
            shared_read!(self.database, sessions_with_user, rotation.session_id)?;
        let repeated = found.filter(|(session, user)| rotation.decide(session, user) == Refresh::Repeat);
        Ok(repeated.map(|(session, _)| session))
    }

    /// Ends a session. Returns it as it is afterwards and whether it was live until then.
    pub async fn end(&self, end: Command<EndSession>) -> Result<(Session, bool), DatabaseError> {
        let id = end.value.session_id;
        let ended: Option<(Session, bool)> = transaction!(self.database, sessions::end, end)?;
        ended.ok_or_else(|| Refusal::SessionNotFound(id).into())
    }

    /// Ends the sessions of a user, and returns how many of them were live.
    pub async fn end_all(&self, end: Command<EndSessions>) -> Result<usize, DatabaseError> {
        transaction!(self.database, sessions::end_all_of_user, end)
    }

    /// Deletes sessions that expired or were ended a week ago, and returns how many.
    pub async fn purge(&self, now: DateTime<Utc>) -> Result<usize, DatabaseError> {
        purge!(self.database, sessions::purge, |batch| (now, batch))
    }
}
