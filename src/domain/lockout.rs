//! When the next attempt to sign in is allowed.

use std::net::IpAddr;

use chrono::{DateTime, TimeDelta, Utc};

use uuid::Uuid;

use super::{Client, Identifier, ListPosition, SignInMethod, UserAgent, UserId};

/// How patient the service is with wrong passwords.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockoutPolicy {
    /// The failures that one network may have for one login name within the window.
    pub max_failures: i32,
    /// How long failures of a network count, and how long it has to wait then.
    pub window: TimeDelta,
    /// The failures that all unknown networks together may have before they have to wait between attempts.
    pub free_failures: i32,
    /// The longest such wait.
    pub max_delay: TimeDelta,
}

impl LockoutPolicy {
    /// The first wait of unknown networks; it doubles with each further failure.
    pub const FIRST_DELAY: TimeDelta = TimeDelta::seconds(1);

    /// How long after the first of them the attempts from unknown networks are forgotten.
    pub const MEMORY: TimeDelta = TimeDelta::hours(24);

    /// How far apart the times of two attempts can be that are counted at once: longer than a call waits for its
    /// turn, and than the clocks of two servers differ. Only what is further ahead means that the clock was set back.
    pub const CLOCK_TOLERANCE: TimeDelta = TimeDelta::minutes(1);

    /// How long after a sign-in its network is known.
    pub const KNOWN_FOR: TimeDelta = TimeDelta::days(90);
}

/// Whom attempts are counted for. Both are keyed digests, so that the table tells nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockoutKey {
    /// The user or, where there is none, the login name.
    pub subject: [u8; 32],
    /// The network, for this subject.
    pub network: [u8; 32],
}

/// An attempt to count before it is decided.
#[derive(Debug, Clone, Copy)]
pub struct ReserveAttempt {
    /// Whom it is counted for.
    pub key: LockoutKey,
    /// How patient the service is.
    pub policy: LockoutPolicy,
    /// When.
    pub now: DateTime<Utc>,
}

/// An attempt that has been counted before it is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reservation {
    /// Whom it was counted for.
    pub key: LockoutKey,
    /// Whether the user has signed in from the network before, so that it was not counted for all networks.
    pub is_known_network: bool,
}

/// The present state of the counters of one subject.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lockout {
    /// The failures from unknown networks.
    pub failures: i32,
    /// When an unknown network may try again, if it has to wait.
    pub retry_at: Option<DateTime<Utc>>,
    /// The networks that have to wait.
    pub locked_networks: i32,
    /// When the last of them may try again.
    pub networks_retry_at: Option<DateTime<Utc>>,
}

/// The end of a lockout.
#[derive(Debug, Clone, Copy)]
pub struct ClearLockout {
    /// What the attempts are counted under.
    pub subject: [u8; 32],
    /// Whose they are; nobody's if the login name is not that of a user.
    pub user_id: Option<UserId>,
    /// When.
    pub now: DateTime<Utc>,
}

/// An attempt that was decided.
#[derive(Debug, Clone)]
pub struct NewLoginAttempt {
    /// Who was meant, if there is such a user.
    pub user_id: Option<UserId>,
    /// The login name as it is kept; none for a token.
    pub identifier: Option<String>,
    /// The client.
    pub client: Client,
    /// What was presented.
    pub method: SignInMethod,
    /// Why it failed; nothing if it did not.
    pub failure: Option<LoginFailure>,
    /// When.
    pub attempted_at: DateTime<Utc>,
}

/// An attempt that was decided, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginAttempt {
    /// Identifies the attempt.
    pub id: Uuid,
    /// Who was meant, if there is such a user.
    pub user_id: Option<UserId>,
    /// The login name as it is kept.
    pub identifier: Option<String>,
    /// Where the client was, if known.
    pub ip_address: Option<IpAddr>,
    /// What the client calls itself, if known.
    pub user_agent: Option<UserAgent>,
    /// What was presented.
    pub method: SignInMethod,
    /// Why it failed; nothing if it did not.
    pub failure: Option<LoginFailure>,
    /// When it was decided.
    pub attempted_at: DateTime<Utc>,
}

impl LoginAttempt {
    /// Returns where it is in a list.
    #[must_use]
    pub const fn position(&self) -> ListPosition {
        ListPosition {
            created_at: self.attempted_at,
            id: self.id,
        }
    }
}

/// Why an attempt failed. For operators; callers are not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginFailure {
    /// There is no such user.
    UnknownUser,
    /// The user has no password.
    NoPassword,
    /// The password is not the user's.
    WrongPassword,
    /// The password is right, but the user is blocked.
    UserBlocked,
    /// The password is right, but the user is inactive.
    UserInactive,
    /// A used refresh token was presented.
    TokenReused,
    /// A refresh token was presented by another application.
    WrongClient,
}

/// Whose attempts are asked about.
#[derive(Debug, Clone)]
pub enum LockoutSubject {
    /// A user.
    User(UserId),
    /// Whoever has this login name, or nobody.
    Identifier(Identifier),
}
