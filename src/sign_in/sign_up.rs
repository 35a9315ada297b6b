//! Signing up: creating a user who is signed in at once.

use super::{Attempt, Authenticator, SignInError, SignedIn};
use crate::domain::{
    Client, Command, Identifier, NewLoginAttempt, NewRefreshToken, NewSignUp, NewUser, Session,
    SignInMethod, SignUpDecision,
};

impl Authenticator {
    /// Creates a user whose password has been hashed, and signs the user in. Whoever repeats a request is signed in
    /// with the password, which takes a look at it like any sign-in.
    pub async fn sign_up(
        &self,
        command: Command<NewUser>,
        identifier: Identifier,
        attempt: Attempt,
    ) -> Result<SignedIn, SignInError> {
        let Command {
            value: user,
            request,
            origin,
        } = command;
        let now = user.created_at;
        let client: Client = attempt.client.clone();
        let policy = self.0.session_policy;
        let session = Session::begin(user.id, SignInMethod::Password, client.clone(), policy, now);
        let (_, token_hash) = self.0.refresh_tokens.issue(session.id, session.generation);
        let lockouts = &self.0.lockouts;
        let subject = lockouts.subject_of_user(user.id);
        let value = NewSignUp {
            counted: lockouts.attempt(subject, &client.network(), now),
            attempt: NewLoginAttempt {
                user_id: Some(user.id),
                identifier: Some(identifier.recorded()),
                client: client.clone(),
                method: SignInMethod::Password,
                failure: None,
                attempted_at: now,
            },
            token: NewRefreshToken {
                session: session.clone(),
                token_hash,
                client,
                created_at: now,
            },
            user,
        };
        let sign_up = Command {
            value,
            request,
            origin,
        };
        match self.0.sessions.sign_up(sign_up).await? {
            SignUpDecision::SignedUp(created) => Ok(SignedIn {
                user: *created,
                tokens: self.tokens(session, now)?,
            }),
            SignUpDecision::Repeated(_) => self.sign_in_with_password(identifier, attempt).await,
        }
    }
}
