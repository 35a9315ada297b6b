//! Signing up: creating a user who is signed in at once.

use super::{Attempt, Authenticator, SignInError, SignedIn};
use crate::domain::{
    Client, Identifier, NewLoginAttempt, NewRefreshToken, NewSignUp, NewUser, RequestRecord, Session,
    SignInMethod, SignUpDecision, WithRequest,
};

impl Authenticator {
    /// Creates a user whose password has been hashed, and signs the user in. Whoever repeats a request is signed in
    /// with the password, which takes a look at it like any sign-in.
    pub async fn sign_up(
        &self,
        user: NewUser,
        identifier: Identifier,
        attempt: Attempt,
        request: Option<RequestRecord>,
    ) -> Result<SignedIn, SignInError> {
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
        match self.0.sessions.sign_up(WithRequest { value, request }).await? {
            SignUpDecision::SignedUp(created) => Ok(SignedIn {
                user: *created,
                tokens: self.tokens(session, now)?,
            }),
            SignUpDecision::Repeated(_) => self.sign_in_with_password(identifier, attempt).await,
        }
    }
}
