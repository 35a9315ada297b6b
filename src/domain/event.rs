//! What happened to users: the audit trail.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Actor, ActorKind, CorrelationId, ListPosition, Origin, SessionId, UserId};

/// What happened to a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserEventType {
    /// The user was created.
    UserCreated,
    /// Fields of the profile got other values.
    UserUpdated,
    /// The user was switched off.
    UserDeactivated,
    /// The user was switched on again.
    UserReactivated,
    /// The user was blocked, or for another reason than before.
    UserBlocked,
    /// The user was let in again.
    UserUnblocked,
    /// The user was deleted for good.
    UserDeleted,
    /// A service set the password.
    PasswordSet,
    /// The user changed its password.
    PasswordChanged,
    /// The user chose a new password with a token.
    PasswordReset,
    /// The password was taken away.
    PasswordRemoved,
    /// The email was confirmed.
    EmailVerified,
    /// One session was ended, or all of them, and nothing else.
    SessionsRevoked,
    /// A used refresh token was presented, which ended its session.
    RefreshTokenReused,
    /// The failed attempts to sign in were forgotten.
    LockoutCleared,
}

/// A field whose change is on record by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserField {
    /// The email.
    Email,
    /// The username.
    Username,
    /// The name of the person.
    FullName,
    /// The date of birth.
    BirthDate,
    /// Whether the email is known to belong to the user.
    EmailVerified,
}

impl UserField {
    /// Every field.
    pub const ALL: [Self; 5] = [
        Self::Email,
        Self::Username,
        Self::FullName,
        Self::BirthDate,
        Self::EmailVerified,
    ];

    /// Returns the name of the field in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Username => "username",
            Self::FullName => "full_name",
            Self::BirthDate => "birth_date",
            Self::EmailVerified => "email_verified",
        }
    }

    /// Finds a field by its name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.name() == name)
    }
}

/// An event to write. It has no field for anything that tells who a user is.
#[derive(Debug, Clone)]
pub struct NewUserEvent<'a> {
    /// Whom it is about.
    pub user_id: UserId,
    /// What happened.
    pub event_type: UserEventType,
    /// The fields that changed, for [`UserEventType::UserUpdated`].
    pub changed_fields: Vec<UserField>,
    /// The session that ended, if it is about one.
    pub session_id: Option<SessionId>,
    /// Where the change comes from.
    pub origin: &'a Origin,
    /// When it happened.
    pub occurred_at: DateTime<Utc>,
}

impl<'a> NewUserEvent<'a> {
    /// Makes an event that is about a user and nothing else.
    #[must_use]
    pub const fn new(
        user_id: UserId,
        event_type: UserEventType,
        origin: &'a Origin,
        occurred_at: DateTime<Utc>,
    ) -> Self {
        Self {
            user_id,
            event_type,
            changed_fields: Vec::new(),
            session_id: None,
            origin,
            occurred_at,
        }
    }

    /// Says which session ended.
    #[must_use]
    pub fn of_session(self, session_id: SessionId) -> Self {
        Self {
            session_id: Some(session_id),
            ..self
        }
    }
}

/// Who did something, as it is on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedActor {
    /// The kind of actor.
    pub kind: ActorKind,
    /// Which one, unless the kind has one only.
    pub name: Option<String>,
}

impl From<&Actor> for RecordedActor {
    fn from(actor: &Actor) -> Self {
        Self {
            kind: actor.kind(),
            name: actor.name(),
        }
    }
}

/// An event, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserEvent {
    /// Identifies the event.
    pub id: Uuid,
    /// Whom it is about. The user may be gone.
    pub user_id: UserId,
    /// What happened.
    pub event_type: UserEventType,
    /// The fields that changed.
    pub changed_fields: Vec<UserField>,
    /// Who did it.
    pub actor: RecordedActor,
    /// The session that ended, if it is about one.
    pub session_id: Option<SessionId>,
    /// The call.
    pub correlation_id: CorrelationId,
    /// When it happened.
    pub occurred_at: DateTime<Utc>,
}

impl UserEvent {
    /// Returns where it is in a list.
    #[must_use]
    pub const fn position(&self) -> ListPosition {
        ListPosition {
            created_at: self.occurred_at,
            id: self.id,
        }
    }
}

/// Whose doings a list is narrowed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActorFilter {
    /// The kind of actor.
    pub kind: ActorKind,
    /// Which one; all of the kind if `None`.
    pub name: Option<String>,
}

/// Which events a list is narrowed to; every condition that is given must hold.
#[derive(Debug, Clone, Default)]
pub struct UserEventFilter {
    /// About this user, who may be gone.
    pub user_id: Option<UserId>,
    /// Done by this actor.
    pub actor: Option<ActorFilter>,
    /// Of one of these types; of all if empty.
    pub types: Vec<UserEventType>,
    /// At this time or later.
    pub occurred_from: Option<DateTime<Utc>>,
    /// Before this time.
    pub occurred_before: Option<DateTime<Utc>>,
}

/// A page of events, the newest first.
#[derive(Debug, Clone)]
pub struct ListUserEvents {
    /// Which events.
    pub filter: UserEventFilter,
    /// After which position; from the start if `None`.
    pub after: Option<ListPosition>,
    /// The most events to return.
    pub limit: i64,
}
