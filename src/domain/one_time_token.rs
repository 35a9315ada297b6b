//! Tokens that work once: they reset a password or confirm an email.

use chrono::{DateTime, Utc};

use super::{Email, UserChange, UserId};

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OneTimeTokenPurpose {
    /// To set a new password.
    PasswordReset,
    /// To confirm an email.
    EmailVerification,
}

/// A token to store.
#[derive(Debug, Clone)]
pub struct NewOneTimeToken {
    /// Whom it is for.
    pub user_id: UserId,
    /// What it is for.
    pub purpose: OneTimeTokenPurpose,
    /// SHA-256 of the token.
    pub token_hash: [u8; 32],
    /// When it expires.
    pub expires_at: DateTime<Utc>,
    /// When it is made.
    pub created_at: DateTime<Utc>,
}

/// A token that is presented, with what it is to bring about.
#[derive(Debug, Clone)]
pub struct ConfirmOneTimeToken {
    /// Whom it is for.
    pub user_id: UserId,
    /// What it is for.
    pub purpose: OneTimeTokenPurpose,
    /// SHA-256 of it.
    pub token_hash: [u8; 32],
    /// What happens to the user.
    pub change: UserChange,
    /// When.
    pub now: DateTime<Utc>,
}

impl OneTimeTokenPurpose {
    /// Tells whether a token for this purpose needs a user with an email.
    #[must_use]
    pub const fn needs_email(self) -> bool {
        matches!(self, Self::EmailVerification)
    }

    /// Tells whether a token that was made for a user with one email still works for a user with another.
    #[must_use]
    pub fn still_fits(self, made_for: Option<&str>, present: Option<&Email>) -> bool {
        made_for == present.map(Email::normalized)
    }
}
