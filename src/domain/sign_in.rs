//! Sign-ins, as the repositories take them.

use chrono::{DateTime, Utc};

use super::{
    NewLoginAttempt, NewRefreshToken, NewUser, Refusal, Reservation, ReserveAttempt, SessionPolicy,
    User, UserId, VerifiedPassword,
};

/// A sign-in whose password is right.
#[derive(Debug, Clone)]
pub struct VerifiedSignIn {
    /// The session and its first refresh token.
    pub token: NewRefreshToken,
    /// The password that turned out right. The user must still have it.
    pub verified: VerifiedPassword,
    /// The attempt, as a success.
    pub attempt: NewLoginAttempt,
    /// How the attempt was counted.
    pub reservation: Reservation,
    /// How many sessions a user may have.
    pub policy: SessionPolicy,
    /// The time of the sign-in.
    pub now: DateTime<Utc>,
}

/// What became of a sign-in whose password is right.
#[derive(Debug, Clone)]
pub enum SignInDecision {
    /// The session has begun.
    SignedIn(Box<User>),
    /// It has not; the attempt is recorded all the same.
    Refused(Refusal),
}

/// A user who signs up, with the first session.
#[derive(Debug, Clone)]
pub struct NewSignUp {
    /// The user.
    pub user: NewUser,
    /// The session and its first refresh token.
    pub token: NewRefreshToken,
    /// The attempt, as a success.
    pub attempt: NewLoginAttempt,
    /// How the attempt is counted, so that the network is known from then on.
    pub counted: ReserveAttempt,
}

/// What became of somebody who signed up.
#[derive(Debug, Clone)]
pub enum SignUpDecision {
    /// The user was created and signed in.
    SignedUp(Box<User>),
    /// An earlier attempt at the same request created this user.
    Repeated(UserId),
}
