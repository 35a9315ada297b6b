//! Sessions, and when a refresh token is exchanged for its successor.

use std::fmt;
use std::net::IpAddr;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::{NoContext, Timestamp, Uuid};

use super::user_id::parse_uuid;
use super::{AuthProvider, Client, Invalid, ListPosition, Refusal, User, UserAgent, UserId};

/// The id of a session: a UUID (RFC 9562) of version 7.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(Uuid);

impl SessionId {
    /// Makes a new id. Its 74 random bits come from the operating system.
    #[must_use]
    pub fn generate(now: DateTime<Utc>) -> Self {
        Self(new_uuid(now))
    }

    /// Accepts the hyphenated form in either case.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        parse_uuid(text).map(Self)
    }

    /// Returns the UUID.
    #[must_use]
    pub const fn uuid(self) -> Uuid {
        self.0
    }

    /// Takes an id that was read from the database or from a token of this service.
    pub(crate) const fn from_stored(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

/// Makes a UUID of version 7 for the time `now`.
pub(crate) fn new_uuid(now: DateTime<Utc>) -> Uuid {
    let seconds = u64::try_from(now.timestamp()).unwrap_or_default();
    Uuid::new_v7(Timestamp::from_unix(
        NoContext,
        seconds,
        now.timestamp_subsec_nanos(),
    ))
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A user at one client, from a sign-in on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Identifies the session.
    pub id: SessionId,
    /// Who signed in.
    pub user_id: UserId,
    /// How.
    pub method: SignInMethod,
    /// Who vouched for the user; nobody for a password.
    pub provider: Option<AuthProvider>,
    /// The client that signed in.
    pub client: Client,
    /// The number of the live refresh token, from 1.
    pub generation: i64,
    /// When the live refresh token was issued.
    pub last_refresh_at: DateTime<Utc>,
    /// When the session ends unless it is refreshed before.
    pub idle_expires_at: DateTime<Utc>,
    /// When the session ends, however often it is refreshed.
    pub expires_at: DateTime<Utc>,
    /// When and why the session was ended, if it was.
    pub ended: Option<(DateTime<Utc>, SessionEndReason)>,
    /// When the user signed in.
    pub created_at: DateTime<Utc>,
}

impl Session {
    /// Returns where it is in a list.
    #[must_use]
    pub const fn position(&self) -> ListPosition {
        ListPosition {
            created_at: self.created_at,
            id: self.id.uuid(),
        }
    }
}

/// What was presented to sign in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignInMethod {
    /// A password.
    Password,
    /// An ID token.
    IdToken,
    /// A refresh token; only in the list of attempts.
    RefreshToken,
}

/// Why a session was ended before it expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionEndReason {
    /// The user signed out.
    SignedOut,
    /// Somebody revoked it.
    Revoked,
    /// The user was blocked.
    UserBlocked,
    /// The user was deactivated.
    UserDeactivated,
    /// The password was set, changed, reset or removed.
    PasswordChanged,
    /// A used refresh token was presented.
    TokenReused,
    /// The user had too many sessions.
    SessionLimit,
}

/// How long sessions live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionPolicy {
    /// How long a session lives at most.
    pub lifetime: TimeDelta,
    /// How long a session lives that is not refreshed.
    pub idle_lifetime: TimeDelta,
    /// The most live sessions of one user.
    pub max_per_user: i64,
}

/// What becomes of a refresh token that is presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refresh {
    /// It is exchanged for its successor.
    Rotate,
    /// It has been exchanged a moment ago, and its successor has not been used: the answer was lost, and is
    /// given again.
    Repeat,
    /// It had been used before: somebody else has it too.
    Reused,
    /// It, or the session, has expired.
    Expired,
    /// The session was ended, or its user is kept out.
    Ended,
    /// Somebody else presents it than the client that it was issued to.
    WrongClient,
}

impl Session {
    /// How long the answer to an exchange can be asked for again: long enough for a client that lost it to a
    /// network that comes back.
    pub const REPEAT_WINDOW: TimeDelta = TimeDelta::seconds(60);

    /// Makes the session of a sign-in.
    #[must_use]
    pub fn begin(
        user_id: UserId,
        method: SignInMethod,
        client: Client,
        policy: SessionPolicy,
        now: DateTime<Utc>,
    ) -> Self {
        let expires_at = now + policy.lifetime;
        Self {
            id: SessionId::generate(now),
            user_id,
            method,
            provider: None,
            client,
            generation: 1,
            last_refresh_at: now,
            idle_expires_at: expires_at.min(now + policy.idle_lifetime),
            expires_at,
            ended: None,
            created_at: now,
        }
    }

    /// Tells whether the session has neither been ended nor expired.
    #[must_use]
    pub fn is_live(&self, now: DateTime<Utc>) -> bool {
        self.ended.is_none() && !self.is_expired(now)
    }

    /// Tells whether the session has expired: at its time, not after it.
    #[must_use]
    pub fn is_expired(&self, now: DateTime<Utc>) -> bool {
        now >= self.idle_expires_at || now >= self.expires_at
    }

    /// Decides what becomes of the refresh token of a generation.
    #[must_use]
    pub fn refresh(&self, generation: i64, now: DateTime<Utc>) -> Refresh {
        if self.ended.is_some() {
            Refresh::Ended
        } else if self.is_expired(now) {
            Refresh::Expired
        } else if generation == self.generation {
            Refresh::Rotate
        } else if generation.checked_add(1) == Some(self.generation)
            && now - self.last_refresh_at <= Self::REPEAT_WINDOW
        {
            Refresh::Repeat
        } else {
            Refresh::Reused
        }
    }

    /// Returns the session after an exchange. The absolute end stays where it is.
    #[must_use]
    pub fn rotated(mut self, policy: SessionPolicy, now: DateTime<Utc>) -> Self {
        self.generation = self.generation.saturating_add(1);
        self.last_refresh_at = now;
        self.idle_expires_at = self.expires_at.min(now + policy.idle_lifetime);
        self
    }
}

/// A refresh token as it is stored: without the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefreshToken {
    /// Identifies the row.
    pub id: Uuid,
    /// The session it refreshes.
    pub session_id: SessionId,
    /// The user of the session.
    pub user_id: UserId,
    /// Its number in the session, from 1.
    pub generation: i64,
    /// SHA-256 of the token.
    pub token_hash: [u8; 32],
    /// When it expires.
    pub expires_at: DateTime<Utc>,
    /// When it was exchanged.
    pub used_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    /// The client it was issued to.
    pub user_agent: Option<UserAgent>,
    /// Where that client was.
    pub ip_address: Option<IpAddr>,
    /// When it was issued.
    pub created_at: DateTime<Utc>,
}

impl RefreshToken {
    /// Tells whether the token can be exchanged: neither used, nor revoked, nor expired.
    #[must_use]
    pub fn is_valid(&self, now: DateTime<Utc>) -> bool {
        self.used_at.is_none() && self.revoked_at.is_none() && now < self.expires_at
    }
}

/// A refresh token to store.
#[derive(Debug, Clone)]
pub struct NewRefreshToken {
    /// Its session, as it is with this token.
    pub session: Session,
    /// SHA-256 of the token.
    pub token_hash: [u8; 32],
    /// The client it is issued to.
    pub client: Client,
    /// When it is issued.
    pub created_at: DateTime<Utc>,
}

/// The exchange of a refresh token that is presented for its successor.
#[derive(Debug, Clone)]
pub struct Rotation {
    /// The session of the token.
    pub session_id: SessionId,
    /// The number of the token in the session.
    pub generation: i64,
    /// SHA-256 of the token.
    pub token_hash: [u8; 32],
    /// SHA-256 of its successor.
    pub next_token_hash: [u8; 32],
    /// Who presents it.
    pub client: Client,
    /// How long sessions live.
    pub policy: SessionPolicy,
    /// When.
    pub now: DateTime<Utc>,
}

impl Rotation {
    /// Decides what becomes of the token, now that its session and the user of it are known.
    #[must_use]
    pub fn decide(&self, session: &Session, user: &User) -> Refresh {
        if session.client.client_id != self.client.client_id {
            Refresh::WrongClient
        } else if user.check_state().is_err() {
            // Whoever is blocked by hand, in SQL, still has sessions that were not ended.
            Refresh::Ended
        } else {
            session.refresh(self.generation, self.now)
        }
    }
}

/// What became of a refresh token that was presented.
#[derive(Debug, Clone)]
pub enum RefreshedSession {
    /// It was exchanged, now or a moment ago: the session as it is with the successor.
    Refreshed(Session),
    /// It was refused.
    Refused(Refusal),
}

/// The end of one session.
#[derive(Debug, Clone, Copy)]
pub struct EndSession {
    /// Which one.
    pub session_id: SessionId,
    /// Why.
    pub reason: SessionEndReason,
    /// When.
    pub now: DateTime<Utc>,
}

/// The end of the sessions of a user.
#[derive(Debug, Clone, Copy)]
pub struct EndSessions {
    /// Whose sessions.
    pub user_id: UserId,
    /// Why.
    pub reason: SessionEndReason,
    /// One that goes on.
    pub except: Option<SessionId>,
    /// When.
    pub now: DateTime<Utc>,
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};
    use proptest::prelude::{any, proptest};
    use uuid::Uuid;

    use super::{Refresh, Session, SessionPolicy, SignInMethod};
    use crate::domain::{Client, ClientId, UserId};

    const POLICY: SessionPolicy = SessionPolicy {
        lifetime: TimeDelta::hours(10),
        idle_lifetime: TimeDelta::hours(2),
        max_per_user: 10,
    };

    fn session(now: DateTime<Utc>) -> Session {
        let client = Client {
            ip_address: None,
            user_agent: None,
            client_id: ClientId::default(),
        };
        let user = UserId::from_stored(Uuid::nil());
        Session::begin(user, SignInMethod::Password, client, POLICY, now)
    }

    #[test]
    fn a_token_is_exchanged_once_and_repeated_for_a_minute() {
        let now = DateTime::UNIX_EPOCH;
        let first = session(now);
        assert_eq!(first.refresh(1, now), Refresh::Rotate);
        let second = first.rotated(POLICY, now);
        let window_ends = now + Session::REPEAT_WINDOW;
        assert_eq!(second.refresh(1, window_ends), Refresh::Repeat);
        assert_eq!(
            second.refresh(1, window_ends + TimeDelta::microseconds(1)),
            Refresh::Reused
        );
        assert_eq!(second.refresh(2, now), Refresh::Rotate);
        let third = second.rotated(POLICY, now);
        // Its successor has been used.
        assert_eq!(third.refresh(1, now), Refresh::Reused);
        assert_eq!(third.refresh(2, now), Refresh::Repeat);
        // Never issued.
        assert_eq!(third.refresh(4, now), Refresh::Reused);
    }

    #[test]
    fn expiry_is_exact_and_rotation_does_not_extend_the_absolute_end() {
        let start = DateTime::UNIX_EPOCH;
        let mut current = session(start);
        let tick = TimeDelta::microseconds(1);
        assert_eq!(
            current.refresh(1, current.idle_expires_at - tick),
            Refresh::Rotate
        );
        assert_eq!(current.refresh(1, current.idle_expires_at), Refresh::Expired);
        for hour in 1..10 {
            let now = start + TimeDelta::hours(hour);
            assert_eq!(current.refresh(current.generation, now), Refresh::Rotate);
            current = current.rotated(POLICY, now);
            assert!(current.idle_expires_at <= start + POLICY.lifetime);
        }
        assert_eq!(current.expires_at, start + POLICY.lifetime);
        assert_eq!(current.refresh(10, current.expires_at - tick), Refresh::Rotate);
        assert_eq!(current.refresh(10, current.expires_at), Refresh::Expired);
    }

    proptest! {
        #[test]
        fn only_the_last_two_tokens_are_ever_accepted(generation in 1_i64..50, presented in any::<i64>()) {
            let now = DateTime::UNIX_EPOCH;
            let mut current = session(now);
            current.generation = generation;
            let is_accepted = matches!(current.refresh(presented, now), Refresh::Rotate | Refresh::Repeat);
            assert_eq!(is_accepted, presented == generation || presented == generation - 1);
        }
    }
}
