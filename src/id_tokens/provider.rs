//! What is known about a provider.

use std::collections::BTreeSet;

use url::Url;

use crate::domain::{Email, ProviderName};

/// Google, in the spelling that is stored (OpenID Connect documentation of Google: both spellings are legal).
pub const GOOGLE_ISSUER: &str = "https://accounts.google.com";

/// The other spelling.
const GOOGLE_ISSUER_WITHOUT_SCHEME: &str = "accounts.google.com";

/// Apple.
pub const APPLE_ISSUER: &str = "https://appleid.apple.com";

/// A provider in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderConfig {
    /// What callers call it.
    pub name: ProviderName,
    /// Who issues its tokens, in the spelling that is stored.
    pub issuer: String,
    /// Whom its tokens must be for: the ids of our applications there.
    pub client_ids: BTreeSet<String>,
    /// Where its keys are.
    pub keys: KeySource,
    /// Whose addresses it decides about.
    pub emails: EmailTrust,
}

/// Where the keys of a provider are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// The document of the issuer that says so (OpenID Connect Discovery 1.0 §4) is here.
    Discovery(Url),
    /// They are here, as a JWK set (RFC 7517 §5).
    Jwks(Url),
}

/// Of which addresses a provider decides whose they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmailTrust {
    /// Those at gmail.com, and those of the organisations whose accounts it manages (the claim `hd`).
    Google,
    /// Those of its own domains. Its claim `email_verified` may be a string.
    Apple,
    /// All of them: the issuer of an organisation that has its own addresses only.
    All,
    /// None.
    None,
}

impl ProviderConfig {
    /// Tells whether a token names this provider as its issuer. Nothing is normalised: a token that says it in another
    /// way is another issuer's.
    pub(super) fn is_issuer(&self, text: &str) -> bool {
        text == self.issuer || (self.issuer == GOOGLE_ISSUER && text == GOOGLE_ISSUER_WITHOUT_SCHEME)
    }
}

impl EmailTrust {
    /// Tells whether the provider decides whose an address is. `hosted_domain` is the claim `hd`.
    pub(super) fn covers(self, email: &Email, hosted_domain: Option<&str>) -> bool {
        const GMAIL: &str = "gmail.com";
        const APPLE: [&str; 4] = ["icloud.com", "me.com", "mac.com", "privaterelay.appleid.com"];
        let domain = email.normalized().rsplit('@').next().unwrap_or_default();
        match self {
            Self::Google => domain == GMAIL || hosted_domain.is_some_and(|hosted| !hosted.is_empty()),
            Self::Apple => APPLE.contains(&domain),
            Self::All => true,
            Self::None => false,
        }
    }
}
