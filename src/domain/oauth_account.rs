//! Accounts at providers, and what a provider says about whoever signs in.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::session::new_uuid;
use super::text::parse_plain_name;
use super::user_id::parse_uuid;
use super::{
    AuthProvider, Email, Etag, FullName, Invalid, ListPosition, NewLoginAttempt, NewRefreshToken,
    NewUser, SessionPolicy, User, UserId,
};

/// The name of a provider in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProviderName(String);

impl ProviderName {
    /// The most characters of a name.
    pub const MAX_CHARACTERS: usize = 64;

    /// Accepts 1 to 64 ASCII letters, digits, dots, hyphens and underscores.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        parse_plain_name(text, Self::MAX_CHARACTERS).map(Self)
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the kind of credential that an account of the provider is.
    #[must_use]
    pub fn kind(&self) -> AuthProvider {
        match self.as_str() {
            Self::GOOGLE => AuthProvider::Google,
            Self::APPLE => AuthProvider::Apple,
            _ => AuthProvider::Oidc,
        }
    }

    /// The name of Google.
    pub const GOOGLE: &'static str = "google";

    /// The name of Apple.
    pub const APPLE: &'static str = "apple";

    /// Takes a name that was valid when it was stored.
    pub(crate) const fn from_stored(text: String) -> Self {
        Self(text)
    }
}

/// What an issuer calls an account: the claim `sub` (OpenID Connect Core §2).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subject(String);

impl Subject {
    /// The most characters, as OpenID Connect has it.
    pub const MAX_CHARACTERS: usize = 255;

    /// Accepts 1 to 255 ASCII characters without control characters. They are compared as they are.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.len() > Self::MAX_CHARACTERS {
            return Err(Invalid::too_long(Self::MAX_CHARACTERS, "characters"));
        }
        if text.is_empty() || !text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err(Invalid::format("must consist of visible ASCII characters"));
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes a subject that was valid when it was stored.
    pub(crate) const fn from_stored(text: String) -> Self {
        Self(text)
    }
}

/// What an account is known by: its issuer and what the issuer calls it, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AccountKey {
    /// The issuer, in the one spelling that is stored.
    pub issuer: String,
    /// The account there.
    pub subject: Subject,
}

/// The id of a linked account: a UUID (RFC 9562) of version 7.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OAuthAccountId(Uuid);

impl OAuthAccountId {
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

    /// Takes an id that was read from the database.
    pub(crate) const fn from_stored(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl std::fmt::Display for OAuthAccountId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// An account at a provider that a user signs in with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuthAccount {
    /// Identifies the link.
    pub id: OAuthAccountId,
    /// Whose it is.
    pub user_id: UserId,
    /// The provider, as it was called when the account was linked.
    pub provider: ProviderName,
    /// What the account is known by.
    pub key: AccountKey,
    /// The address that the provider last named.
    pub email: Option<String>,
    /// Whether the provider said that the address belongs to the account.
    pub email_verified: bool,
    /// When the account was last signed in with.
    pub last_sign_in_at: Option<DateTime<Utc>>,
    /// When the account was linked.
    pub created_at: DateTime<Utc>,
    /// When anything of it was last changed.
    pub updated_at: DateTime<Utc>,
}

impl OAuthAccount {
    /// Returns the place of the account in a list.
    #[must_use]
    pub const fn position(&self) -> ListPosition {
        ListPosition {
            created_at: self.created_at,
            id: self.id.uuid(),
        }
    }
}

/// Somebody whom a provider vouches for: what a verified ID token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalIdentity {
    /// The provider.
    pub provider: ProviderName,
    /// What the account is known by.
    pub key: AccountKey,
    /// The address, if the token names one that is well-formed.
    pub email: Option<ClaimedEmail>,
    /// The name of the person, if the token has one that is well-formed.
    pub full_name: Option<FullName>,
}

/// An address as a provider names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedEmail {
    /// The address.
    pub email: Email,
    /// Whether the provider says that it belongs to the account.
    pub is_verified: bool,
    /// Whether it is the provider who decides whose the address is, so that its word stays true: an address of
    /// its own, or of a domain that it manages. Anybody else may have verified an address that belongs to somebody else
    /// by now.
    pub is_authoritative: bool,
}

impl ExternalIdentity {
    /// Returns the account that this begins.
    #[must_use]
    pub fn into_account(self, user_id: UserId, now: DateTime<Utc>) -> OAuthAccount {
        OAuthAccount {
            id: OAuthAccountId::generate(now),
            user_id,
            provider: self.provider,
            key: self.key,
            email_verified: self.email.as_ref().is_some_and(|claimed| claimed.is_verified),
            email: self.email.map(|claimed| claimed.email.as_str().to_owned()),
            last_sign_in_at: None,
            created_at: now,
            updated_at: now,
        }
    }

    /// Returns the address that a user gets who is created for this account: one that the provider verified.
    #[must_use]
    pub fn verified_email(&self) -> Option<&ClaimedEmail> {
        self.email.as_ref().filter(|claimed| claimed.is_verified)
    }

    /// Tells whether the account and a user with the same address are the same person beyond doubt: the user has
    /// shown here that the address is its own, and the provider both says so and decides whose it is.
    ///
    /// Whoever registered here with a stranger's address has shown nothing, and is never joined.
    #[must_use]
    pub fn is_surely(&self, user: &User) -> bool {
        let is_same = |claimed: &ClaimedEmail| {
            let email = user.profile.email.as_ref();
            // More strictly than addresses are compared elsewhere: a provider may tell apart what is one address here.
            email.is_some_and(|email| email.as_str().eq_ignore_ascii_case(claimed.email.as_str()))
        };
        user.email_verified_at.is_some()
            && self
                .verified_email()
                .is_some_and(|claimed| claimed.is_authoritative && is_same(claimed))
    }
}

/// A user who is created with a linked account.
#[derive(Debug, Clone)]
pub struct NewLinkedUser {
    /// The user.
    pub user: NewUser,
    /// When the email was verified, if it was.
    pub email_verified_at: Option<DateTime<Utc>>,
    /// Whose account it is.
    pub identity: ExternalIdentity,
}

/// A sign-in with an ID token that was verified.
#[derive(Debug, Clone)]
pub struct IdTokenSignIn {
    /// Who it is.
    pub identity: ExternalIdentity,
    /// The session and its first refresh token, to be given to whoever it turns out to be.
    pub token: NewRefreshToken,
    /// The attempt, as a success.
    pub attempt: NewLoginAttempt,
    /// What is done if the account is nobody's.
    pub stranger: Stranger,
    /// How many sessions a user may have.
    pub policy: SessionPolicy,
    /// The time of the sign-in.
    pub now: DateTime<Utc>,
}

/// What is done with an account that is nobody's.
#[derive(Debug, Clone)]
pub enum Stranger {
    /// This user is created.
    Created(Box<NewLinkedUser>),
    /// A user would be created, but something is missing that every user must have.
    Incomplete,
    /// No user is created.
    Refused,
}

/// What became of a sign-in with an ID token.
#[derive(Debug, Clone)]
pub enum IdTokenDecision {
    /// The session has begun.
    SignedIn {
        /// The user.
        user: Box<User>,
        /// Whether the user was created.
        is_new: bool,
    },
    /// It has not; the attempt is recorded if it was that of a user.
    Refused(super::Refusal),
    /// The account is nobody's, and no user can be created from what is known.
    Incomplete,
}

/// A new link between a user and an account.
#[derive(Debug, Clone)]
pub struct LinkOAuthAccount {
    /// The user.
    pub user_id: UserId,
    /// Whose account it is.
    pub identity: ExternalIdentity,
    /// The version of the user that it may happen to; any if `None`.
    pub etag: Option<Etag>,
    /// The time of the change.
    pub now: DateTime<Utc>,
}

/// The end of a link.
#[derive(Debug, Clone)]
pub struct UnlinkOAuthAccount {
    /// The user.
    pub user_id: UserId,
    /// The link.
    pub account_id: OAuthAccountId,
    /// The version of the user that it may happen to; any if `None`.
    pub etag: Option<Etag>,
    /// The time of the change.
    pub now: DateTime<Utc>,
}

/// A page of the accounts of a user, the oldest first.
#[derive(Debug, Clone)]
pub struct ListOAuthAccounts {
    /// Whose accounts.
    pub user_id: UserId,
    /// After which position; from the start if `None`.
    pub after: Option<ListPosition>,
    /// The most accounts to return.
    pub limit: i64,
}

#[cfg(test)]
mod tests {
    use super::{ProviderName, Subject};
    use crate::domain::AuthProvider;

    #[test]
    fn subjects_are_visible_ascii() {
        let longest = "x".repeat(Subject::MAX_CHARACTERS);
        for text in ["1", "110169484474386276334", "a b|c:d", longest.as_str()] {
            assert_eq!(Subject::parse(text).map(|subject| subject.0), Ok(text.to_owned()));
        }
        let too_long = format!("{longest}x");
        for text in ["", "\u{e9}", "a\nb", "a\0b", "\u{7f}", too_long.as_str()] {
            assert!(Subject::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_kind_follows_from_the_name() {
        for (name, kind) in [
            ("google", AuthProvider::Google),
            ("apple", AuthProvider::Apple),
            ("corp", AuthProvider::Oidc),
            ("Google", AuthProvider::Oidc),
        ] {
            assert_eq!(ProviderName::parse(name).expect(name).kind(), kind, "{name}");
        }
    }
}
