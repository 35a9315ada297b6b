//! Checking a password that somebody presents, counted before it is looked at.

use std::time::Instant;

use futures_util::future::BoxFuture;

use super::{Authenticator, SignInError};
use crate::domain::{
    Client, LoginFailure, NewLoginAttempt, PasswordHash, PresentedPassword, Reservation, SignInMethod,
    User, UserId, VerifiedPassword,
};
use crate::password_hashing::Turn;

/// A password that somebody presents.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The password.
    pub password: PresentedPassword,
    /// Where it comes from.
    pub client: Client,
    /// When the answer is of no more use.
    pub deadline: Instant,
}

/// Whose password it should be.
pub(super) struct Target {
    /// Whom the attempt is counted for.
    pub(super) subject: [u8; 32],
    /// The user, if there is one.
    pub(super) user: Option<User>,
    /// The login name as it is kept.
    pub(super) identifier: Option<String>,
}

/// A password that is right.
pub(super) struct Verified {
    /// Whose it is.
    pub(super) user_id: UserId,
    /// The password.
    pub(super) password: VerifiedPassword,
    /// The attempt, as a success that has not been recorded.
    pub(super) attempt: NewLoginAttempt,
    /// How it was counted.
    pub(super) reservation: Reservation,
}

/// An attempt that has been counted, and whose turn it is to be looked at.
pub(super) struct Counted {
    turn: Turn,
    reserved: Reserved,
    target: Target,
    attempt: Attempt,
}

impl Authenticator {
    /// Counts an attempt, and waits for its turn.
    ///
    /// The order matters. A place in the queue comes first, because being refused there costs nothing. The attempt is
    /// counted next, in one statement: however many are made at once, no more than the limit are ever looked at.
    pub(super) async fn count<'a, F>(&self, attempt: Attempt, target: F) -> Result<Counted, SignInError>
    where
        F: Future<Output = Result<Target, SignInError>> + Send + 'a,
    {
        let place = self.0.hasher.admit(attempt.deadline)?;
        let found = target.await?;
        let network = attempt.client.network();
        let this = self.clone();
        let subject = found.subject;
        // It goes on without its caller, because the count does; with nobody to take it, it is taken back. The place is
        // kept until then, so that those who leave are never more than the queue holds.
        let (place, reserved) = run_to_its_end(async move {
            let now = this.0.clock.now();
            let reservation = this.0.lockouts.reserve(subject, &network, now).await?;
            let reserved = Reserved {
                authenticator: this,
                reservation: Some(reservation),
            };
            Ok((place.wait(), reserved))
        })
        .await?;
        // Whoever goes away here leaves the queue, and was not looked at.
        let turn = place.turn().await?;
        Ok(Counted {
            turn,
            reserved,
            target: found,
            attempt,
        })
    }

    /// Looks at a password, whatever the user: the work is the same. Records a failure; a success is for the caller to
    /// record.
    pub(super) async fn look_at(&self, counted: Counted) -> Result<Option<Verified>, SignInError> {
        let Counted {
            turn,
            reserved,
            target,
            attempt,
        } = counted;
        let changed_at = target.user.as_ref().and_then(|user| user.password_changed_at);
        let has_password = target.user.as_ref().is_some_and(User::has_password);
        let right = self.verify(turn, attempt.password, target.user.as_ref()).await?;
        let reservation = reserved.keep();
        let user_id = target.user.as_ref().map(|user| user.id);
        let decided = NewLoginAttempt {
            user_id,
            identifier: target.identifier,
            client: attempt.client,
            method: SignInMethod::Password,
            failure: None,
            attempted_at: self.0.clock.now(),
        };
        if let (Some(hash), Some(user_id), Some(reservation)) = (right, user_id, reservation) {
            return Ok(Some(Verified {
                user_id,
                password: VerifiedPassword { hash, changed_at },
                attempt: decided,
                reservation,
            }));
        }
        let failure = match user_id {
            None => LoginFailure::UnknownUser,
            Some(_) if has_password => LoginFailure::WrongPassword,
            Some(_) => LoginFailure::NoPassword,
        };
        let failed = NewLoginAttempt {
            failure: Some(failure),
            ..decided
        };
        self.0.login_attempts.create(failed).await?;
        Ok(None)
    }

    /// Returns the hash of the password if it is the right one. What another system has hashed is hashed anew by then.
    async fn verify(
        &self,
        turn: Turn,
        presented: PresentedPassword,
        user: Option<&User>,
    ) -> Result<Option<PasswordHash>, SignInError> {
        let imported = user.and_then(|user| Some((user.id, user.imported_password.clone()?)));
        let Some((user_id, imported)) = imported else {
            let hash = user.and_then(|user| user.password_hash.clone());
            let is_right = turn.verify(presented, hash.clone()).await?;
            return Ok(hash.filter(|_| is_right));
        };
        let Some(new) = turn.verify_imported(presented, imported.clone()).await? else {
            return Ok(None);
        };
        // If somebody else was faster, whoever goes on with the password sees whether it is still the same.
        self.0
            .users
            .adopt_password(user_id, imported, new.clone())
            .await?;
        Ok(Some(new))
    }

    /// Checks a password of a user that is known, and returns that password if it is right.
    pub async fn check_password_of(
        &self,
        user: User,
        attempt: Attempt,
    ) -> Result<Option<VerifiedPassword>, SignInError> {
        let target = Target {
            subject: self.0.lockouts.subject_of_user(user.id),
            identifier: None,
            user: Some(user),
        };
        let counted = self.count(attempt, async { Ok(target) }).await?;
        let this = self.clone();
        run_to_its_end(async move {
            let Some(verified) = this.look_at(counted).await? else {
                return Ok(None);
            };
            let now = this.0.clock.now();
            this.0.lockouts.succeed(verified.reservation, now).await?;
            Ok(Some(verified.password))
        })
        .await
    }
}

/// Runs what must not stop halfway when its caller goes away: once a password is looked at, what came of it is
/// written.
pub(super) async fn run_to_its_end<R: Send + 'static>(
    work: impl Future<Output = Result<R, SignInError>> + Send + 'static,
) -> Result<R, SignInError> {
    // In a box: what runs a task is compiled for every type of future.
    let work: BoxFuture<'static, _> = Box::pin(tracing::Instrument::in_current_span(work));
    tokio::spawn(work).await.unwrap_or(Err(SignInError::Interrupted))
}

/// An attempt that has been counted. Unless it is kept, it is taken back: who waited in vain has not failed.
struct Reserved {
    authenticator: Authenticator,
    reservation: Option<Reservation>,
}

impl Reserved {
    /// Leaves the attempt counted.
    fn keep(mut self) -> Option<Reservation> {
        self.reservation.take()
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let Some(reservation) = self.reservation.take() else {
            return;
        };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let parts = self.authenticator.clone();
        runtime.spawn(async move {
            let now = parts.0.clock.now();
            if let Err(error) = parts.0.lockouts.release(reservation, now).await {
                // It lapses by itself with the window.
                tracing::warn!(%error, "an attempt that was not looked at stays counted");
            }
        });
    }
}
