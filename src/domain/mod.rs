//! What a user is and which values are valid: rules only, no input or output.
//!
//! A value of one of these types is valid by construction. Text is compared in a normalised form that is
//! computed here and nowhere else, because the databases' own `lower()` functions disagree.

mod actor;
mod birth_date;
mod client;
mod commands;
mod email;
mod etag;
mod event;
mod identifier;
mod import;
mod imported_password;
mod lockout;
mod oauth_account;
mod one_time_token;
mod origin;
mod password;
mod profile;
mod refusal;
mod scope;
mod service_token;
mod session;
mod sign_in;
mod signing_key;
mod text;
mod user;
mod user_id;
mod username;
mod watch;

pub use actor::{Actor, ActorKind};
pub use birth_date::BirthDate;
pub use client::{Client, ClientId, Network, UserAgent, parse_ip_address};
pub use commands::{
    Command, DeleteUser, ListLoginAttempts, ListPosition, ListSessions, ListUsers, LoginAttemptFilter,
    RequestRecord, UpdateUser,
};
pub use email::{Email, EmailPrefix};
pub use etag::Etag;
pub use event::{
    ActorFilter, ListUserEvents, NewUserEvent, RecordedActor, UserEvent, UserEventFilter, UserEventType,
    UserField,
};
pub use identifier::Identifier;
pub use import::{ImportMistakes, ImportOutcome, ImportRecord, ImportUsers};
pub(crate) use imported_password::{Argon2Variant, Digest, HashParts, Scheme};
pub use imported_password::{
    FirebasePassword, ForeignPassword, ForeignPasswordHash, ImportedPasswordHash,
};
pub use lockout::{
    ClearLockout, Lockout, LockoutKey, LockoutPolicy, LockoutSubject, LoginAttempt, LoginFailure,
    NewLoginAttempt, Reservation, ReserveAttempt,
};
pub use oauth_account::{
    AccountKey, ClaimedEmail, ExternalIdentity, IdTokenDecision, IdTokenSignIn, LinkOAuthAccount,
    ListOAuthAccounts, NewLinkedUser, OAuthAccount, OAuthAccountId, ProviderName, Stranger, Subject,
    UnlinkOAuthAccount,
};
pub use one_time_token::{ConfirmOneTimeToken, NewOneTimeToken, OneTimeTokenPurpose};
pub use origin::{CorrelationId, Origin};
pub use password::{Password, PasswordHash, PasswordPolicy, PresentedPassword, VerifiedPassword};
pub use profile::{MissingFields, Profile, ProfileField, ProfileUpdate};
pub use refusal::Refusal;
pub use scope::{Scope, Scopes};
pub use service_token::{NewServiceToken, ServiceName, ServiceToken, ServiceTokenId};
pub(crate) use session::new_uuid;
pub use session::{
    EndSession, EndSessions, NewRefreshToken, Refresh, RefreshToken, RefreshedSession, Rotation,
    Session, SessionEndReason, SessionId, SessionPolicy, SignInMethod,
};
pub use sign_in::{NewSignUp, SignInDecision, SignUpDecision, VerifiedSignIn};
pub use signing_key::{KeyChange, KeyPlan, KeyRotation, SigningKeyRecord};
pub use text::{BlockReason, FullName};
pub use user::{
    AuthProvider, NewPassword, NewUser, PasswordOccasion, User, UserChange, UserFilter, UserOrder,
};
pub use user_id::UserId;
pub(crate) use user_id::parse_uuid;
pub use username::Username;
pub use watch::{
    EventCursor, EventMark, EventWindow, ListUsersById, NumberedEvent, ReadWindow, SnapshotPosition,
    UserChangeSeen, WatchFilter, WatchPosition,
};

/// Says why a value is not valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// The kind of mistake.
    pub reason: InvalidReason,
    /// A sentence for the person who reads the error; never quotes the value.
    pub description: String,
}

/// The kinds of mistake a value can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidReason {
    /// It is missing.
    Required,
    /// It does not have the right form.
    Format,
    /// It is beyond a limit.
    OutOfRange {
        /// The limit that it is beyond.
        limit: i64,
    },
    /// It is a password that is too easy to guess.
    TooWeak {
        /// The fewest characters it needs.
        limit: i64,
    },
    /// It is a password that says little more than who the user is.
    Personal,
    /// It is one of the passwords that attackers try first.
    Breached,
}

impl Invalid {
    pub(crate) fn required(description: impl Into<String>) -> Self {
        Self {
            reason: InvalidReason::Required,
            description: description.into(),
        }
    }

    pub(crate) fn format(description: impl Into<String>) -> Self {
        Self {
            reason: InvalidReason::Format,
            description: description.into(),
        }
    }

    /// A value with more of `unit` (such as "bytes") than `limit`.
    pub(crate) fn too_long(limit: usize, unit: &str) -> Self {
        Self {
            reason: InvalidReason::OutOfRange {
                limit: i64::try_from(limit).unwrap_or(i64::MAX),
            },
            description: format!("must have at most {limit} {unit}"),
        }
    }
}
