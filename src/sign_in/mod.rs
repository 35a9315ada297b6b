//! Signing in, and what follows from it: the flows behind AuthService, and what CredentialService shares with them.
//!
//! Every check of a password goes the same way: a place in the queue for hashing, then the attempt is counted
//! in the database, then the password is looked at, then what came of it is written. Whoever is refused at one
//! step has cost nothing at the next.

mod check;
mod error;
mod id_token;
mod password;
mod refresh;
mod sign_out;
mod sign_up;
mod token;

use std::collections::BTreeSet;
use std::sync::Arc;

pub use check::Attempt;
pub use error::SignInError;
pub use id_token::{IdTokenAttempt, SignedInWithIdToken};
pub use token::Authenticated;

use chrono::{DateTime, Utc};

use crate::clock::Clock;
use crate::domain::{ProfileField, Session, SessionPolicy, User};
use crate::password_hashing::PasswordHasher;
use crate::repositories::{
    LockoutRepository, LoginAttemptRepository, OAuthAccountRepository, SessionRepository, UserRepository,
};
use crate::telemetry::SignInMetrics;
use crate::tokens::{AccessTokens, IssuedAccessToken, RefreshTokens, SecretToken};

/// Signs people in. Cheap to clone.
#[derive(Clone)]
pub struct Authenticator(Arc<Parts>);

/// What signing in works with.
pub struct Parts {
    /// The users.
    pub users: UserRepository,
    /// The sessions.
    pub sessions: SessionRepository,
    /// The linked accounts.
    pub oauth_accounts: OAuthAccountRepository,
    /// The attempts to sign in.
    pub login_attempts: LoginAttemptRepository,
    /// The counters of failed attempts.
    pub lockouts: LockoutRepository,
    /// Checks passwords.
    pub hasher: PasswordHasher,
    /// Issues and verifies access tokens.
    pub access_tokens: AccessTokens,
    /// Issues and recognises refresh tokens.
    pub refresh_tokens: RefreshTokens,
    /// How long sessions live.
    pub session_policy: SessionPolicy,
    /// What every profile must have.
    pub required_fields: BTreeSet<ProfileField>,
    /// Whether users are created for accounts that are nobody's.
    pub provider_sign_up: bool,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub metrics: SignInMetrics,
}

/// Somebody who is signed in.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// The user.
    pub user: User,
    /// The tokens.
    pub tokens: SessionTokens,
}

/// The tokens of a session.
#[derive(Debug, Clone)]
pub struct SessionTokens {
    /// The session.
    pub session: Session,
    /// The access token.
    pub access: IssuedAccessToken,
    /// The refresh token.
    pub refresh: SecretToken,
}

impl Authenticator {
    /// Takes what signing in works with.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// Returns the present time, for what follows after a hash was computed.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.0.clock.now()
    }

    /// Issues the tokens of a session as it is now.
    fn tokens(&self, session: Session, now: DateTime<Utc>) -> Result<SessionTokens, SignInError> {
        let access = self.0.access_tokens.issue(&session, now)?;
        let (refresh, _) = self.0.refresh_tokens.issue(session.id, session.generation);
        Ok(SessionTokens {
            session,
            access,
            refresh,
        })
    }
}
