//! Conversions of accounts at providers.

use super::{optional, time_to_proto, token_of};
use crate::domain::{Invalid, OAuthAccount, OAuthAccountId, ProviderName, Subject};
use crate::grpc::violations::Violations;
use crate::id_tokens::{IdTokens, MAX_TOKEN_BYTES, Provider};
use crate::proto::identity::v1 as proto;
use crate::proto::identity::v1::ErrorReason;
use crate::tokens::SecretToken;

/// Converts the name of a provider that must be given.
pub(in crate::grpc) fn provider_name(
    field: &str,
    text: &str,
    violations: &mut Violations,
) -> Option<ProviderName> {
    violations.take(field, required(text, ProviderName::parse))
}

/// Finds the provider with a name, which must be given.
pub(in crate::grpc) fn provider(
    field: &str,
    text: &str,
    id_tokens: &IdTokens,
    violations: &mut Violations,
) -> Option<Provider> {
    let name = provider_name(field, text, violations)?;
    let found = id_tokens.provider(&name);
    if found.is_none() {
        violations.add(field, ErrorReason::InvalidFormat, NOT_CONFIGURED);
    }
    found
}

/// What is wrong with a provider that nobody has configured.
const NOT_CONFIGURED: &str = "is not a provider of this deployment";

/// A provider that nobody has configured.
pub(in crate::grpc) fn unknown_provider(field: &str) -> Violations {
    Violations::one(field, ErrorReason::InvalidFormat, NOT_CONFIGURED)
}

/// Converts what a provider calls an account, which must be given.
pub(in crate::grpc) fn subject(field: &str, text: &str, violations: &mut Violations) -> Option<Subject> {
    violations.take(field, required(text, Subject::parse))
}

/// Converts an ID token that must be given.
pub(in crate::grpc) fn id_token(
    field: &str,
    text: &str,
    violations: &mut Violations,
) -> Option<SecretToken> {
    token_of(MAX_TOKEN_BYTES, field, text, violations)
}

/// Converts a nonce that may be empty. `None` is returned for a mistake.
pub(in crate::grpc) fn nonce(
    field: &str,
    text: &str,
    violations: &mut Violations,
) -> Option<Option<String>> {
    /// Clients make up some dozens.
    const MAX_BYTES: usize = 255;
    let parsed = optional(text, |nonce| {
        if nonce.len() > MAX_BYTES {
            Err(Invalid::too_long(MAX_BYTES, "bytes"))
        } else if nonce.chars().any(char::is_control) {
            Err(Invalid::format("must not contain control characters"))
        } else {
            Ok(nonce.to_owned())
        }
    });
    violations.take(field, parsed)
}

/// Converts the id of a linked account that must be given.
pub(in crate::grpc) fn account_id(
    field: &str,
    text: &str,
    violations: &mut Violations,
) -> Option<OAuthAccountId> {
    violations.take(field, required(text, OAuthAccountId::parse))
}

fn required<T>(text: &str, parse: impl FnOnce(&str) -> Result<T, Invalid>) -> Result<T, Invalid> {
    if text.is_empty() {
        Err(Invalid::required("must be given"))
    } else {
        parse(text)
    }
}

impl From<OAuthAccount> for proto::OAuthAccount {
    fn from(account: OAuthAccount) -> Self {
        Self {
            id: account.id.to_string(),
            user_id: account.user_id.to_string(),
            provider: account.provider.as_str().to_owned(),
            issuer: account.key.issuer,
            subject: account.key.subject.as_str().to_owned(),
            email: account.email.unwrap_or_default(),
            email_verified: account.email_verified,
            last_sign_in_time: account.last_sign_in_at.map(time_to_proto),
            create_time: Some(time_to_proto(account.created_at)),
        }
    }
}
