//! Why something that was asked for did not happen.

use chrono::TimeDelta;

use super::{OAuthAccountId, SessionId, UserId};

/// Why a change did not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such user.
    UserNotFound(UserId),
    /// The user is at another version than the caller has seen.
    EtagMismatch(UserId),
    /// Another user has this email.
    EmailTaken,
    /// Another user has this username.
    UsernameTaken,
    /// Another user has this id.
    UserIdTaken,
    /// The request id belongs to another request.
    RequestIdReused,
    /// Neither email nor username would be left.
    IdentifierRequired,
    /// Login name and password do not belong together.
    InvalidCredentials,
    /// The user is blocked.
    UserBlocked(UserId),
    /// The user is inactive.
    UserInactive(UserId),
    /// Too many attempts failed.
    TooManyAttempts {
        /// How long to wait.
        retry_after: TimeDelta,
    },
    /// People cannot sign up by themselves.
    SignUpDisabled,
    /// The method needs an access token.
    TokenRequired,
    /// The token is not one of this service for this purpose.
    TokenInvalid,
    /// The token has expired.
    TokenExpired,
    /// The token was used before.
    TokenReused,
    /// The session of the token was ended.
    SessionEnded,
    /// There is no such session.
    SessionNotFound(SessionId),
    /// It is the only way the user can sign in.
    LastCredential(UserId),
    /// The user has no email.
    EmailRequired(UserId),
    /// A user has the email of the account, which is no proof that it is the same person.
    LinkRequired,
    /// The account is linked with another user.
    IdentityTaken,
    /// The user has no such account.
    OAuthAccountNotFound(OAuthAccountId),
    /// The user has signed in too long ago for what it asks for.
    ReauthenticationRequired,
}
