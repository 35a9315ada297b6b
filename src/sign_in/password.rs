//! Signing in with a password.

use super::check::{Target, Verified, run_to_its_end};
use super::{Attempt, Authenticator, SignInError, SignedIn};
use crate::domain::{
    Identifier, NewRefreshToken, PasswordHash, PresentedPassword, Refusal, Session, SignInDecision,
    SignInMethod, UserId, VerifiedSignIn,
};

impl Authenticator {
    /// Signs in whoever has a login name, with a password.
    pub async fn sign_in_with_password(
        &self,
        identifier: Identifier,
        attempt: Attempt,
    ) -> Result<SignedIn, SignInError> {
        let outcome = self.try_password(identifier, attempt).await;
        self.0.metrics.count_sign_in(&outcome);
        outcome
    }

    async fn try_password(
        &self,
        identifier: Identifier,
        attempt: Attempt,
    ) -> Result<SignedIn, SignInError> {
        let target = self.target(identifier);
        let presented = attempt.password.clone();
        let counted = self.count(attempt, target).await?;
        let this = self.clone();
        run_to_its_end(async move {
            let verified = this.look_at(counted).await?.ok_or(Refusal::InvalidCredentials)?;
            this.begin(verified, presented).await
        })
        .await
    }

    /// Finds out whom a login name means. Whoever it is nobody's for is counted like everybody else.
    async fn target(&self, identifier: Identifier) -> Result<Target, SignInError> {
        let user = self.0.users.get_by_identifier(&identifier).await?;
        let lockouts = &self.0.lockouts;
        Ok(Target {
            subject: user.as_ref().map_or_else(
                || lockouts.subject_of_stranger(&identifier),
                |user| lockouts.subject_of_user(user.id),
            ),
            user,
            identifier: Some(identifier.recorded()),
        })
    }

    /// Begins the session of a user whose password is right.
    async fn begin(
        &self,
        verified: Verified,
        presented: PresentedPassword,
    ) -> Result<SignedIn, SignInError> {
        let now = self.0.clock.now();
        let Verified {
            user_id,
            password,
            attempt,
            reservation,
        } = verified;
        let policy = self.0.session_policy;
        let client = attempt.client.clone();
        let session = Session::begin(user_id, SignInMethod::Password, client.clone(), policy, now);
        let (_, token_hash) = self.0.refresh_tokens.issue(session.id, session.generation);
        let sign_in = VerifiedSignIn {
            token: NewRefreshToken {
                session: session.clone(),
                token_hash,
                client,
                created_at: now,
            },
            verified: password.clone(),
            attempt,
            reservation,
            policy,
            now,
        };
        match self.0.sessions.begin(sign_in).await? {
            SignInDecision::Refused(refusal) => Err(refusal.into()),
            SignInDecision::SignedIn(user) => {
                self.rehash_if_weak(user_id, password.hash, presented);
                Ok(SignedIn {
                    user: *user,
                    tokens: self.tokens(session, now)?,
                })
            }
        }
    }

    /// Hashes a password again whose hash is weaker than those of today, after the answer. It gives way to a password
    /// that is changed meanwhile, and is left for the next time while others are waiting.
    fn rehash_if_weak(&self, user_id: UserId, old: PasswordHash, presented: PresentedPassword) {
        let is_weak = old.cost().is_some_and(|cost| cost < self.0.hasher.cost());
        let PresentedPassword::Possible(password) = presented else {
            return;
        };
        if !is_weak || self.0.hasher.status().waiting > 0 {
            return;
        }
        let this = self.clone();
        tokio::spawn(async move {
            /// Nobody waits for it; this only keeps it from waiting for ever.
            const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);
            let deadline = std::time::Instant::now() + PATIENCE;
            let Ok(new) = this.0.hasher.hash(password, deadline).await else {
                return;
            };
            match this.0.users.rehash(user_id, old, new).await {
                Ok(true) => tracing::debug!(%user_id, "a password was hashed again at a higher cost"),
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "a password could not be hashed again"),
            }
        });
    }
}
