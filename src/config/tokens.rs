//! Tokens: `IDENTITY_TOKEN_*`, `IDENTITY_ACCESS_TOKEN_LIFETIME`, `IDENTITY_SIGNING_KEY_*`,
//! `IDENTITY_PASSWORD_RESET_LIFETIME`, `IDENTITY_EMAIL_VERIFICATION_LIFETIME`.

use std::time::Duration;

use chrono::TimeDelta;

use super::variable::{Reader, Variable, to_span};
use crate::tokens::AccessTokenPolicy;

const ISSUER: Variable = Variable::new(
    "IDENTITY_TOKEN_ISSUER",
    "identity",
    "Who issues access tokens: the claim iss, a name or a URL",
);
const AUDIENCE: Variable = Variable::new(
    "IDENTITY_TOKEN_AUDIENCE",
    "identity",
    "Whom access tokens are for: the claim aud, a name or a URL",
);
const ACCESS_TOKEN_LIFETIME: Variable = Variable::new(
    "IDENTITY_ACCESS_TOKEN_LIFETIME",
    "5m",
    "How long an access token lives, in whole seconds; services that verify it offline notice the end of a \
     session after that",
);
const SIGNING_KEY_LIFETIME: Variable = Variable::new(
    "IDENTITY_SIGNING_KEY_LIFETIME",
    "90d",
    "The age at which a signing key gets a successor",
);
const SIGNING_KEY_INTERVAL: Variable = Variable::new(
    "IDENTITY_SIGNING_KEY_INTERVAL",
    "5s",
    "How often a server looks for signing keys that another one made or gave up",
);
const PASSWORD_RESET_LIFETIME: Variable = Variable::new(
    "IDENTITY_PASSWORD_RESET_LIFETIME",
    "1h",
    "How long a token to reset a password works",
);
const EMAIL_VERIFICATION_LIFETIME: Variable = Variable::new(
    "IDENTITY_EMAIL_VERIFICATION_LIFETIME",
    "1d",
    "How long a token to verify an email works",
);

pub(super) const VARIABLES: &[Variable] = &[
    ISSUER,
    AUDIENCE,
    ACCESS_TOKEN_LIFETIME,
    SIGNING_KEY_LIFETIME,
    SIGNING_KEY_INTERVAL,
    PASSWORD_RESET_LIFETIME,
    EMAIL_VERIFICATION_LIFETIME,
];

/// Tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenSettings {
    /// What access tokens say, and how long they live.
    pub access: AccessTokenPolicy,
    /// The age at which a signing key gets a successor.
    pub signing_key_lifetime: TimeDelta,
    /// How often keys are read again.
    pub signing_key_interval: Duration,
    /// How long one-time tokens live.
    pub one_time: OneTimeTokenLifetimes,
}

/// How long one-time tokens live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OneTimeTokenLifetimes {
    /// Those that reset a password.
    pub password_reset: TimeDelta,
    /// Those that verify an email.
    pub email_verification: TimeDelta,
}

impl TokenSettings {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        const SECOND: Duration = Duration::from_secs(1);
        const HOUR: Duration = Duration::from_secs(3600);
        const DAY: Duration = Duration::from_secs(24 * 3600);
        /// A key that signs for less than this is replaced before its successor may sign.
        const SHORTEST_KEY: Duration = HOUR;
        let issuer = reader.parse(&ISSUER, name);
        let audience = reader.parse(&AUDIENCE, name);
        let lifetime = reader.duration(&ACCESS_TOKEN_LIFETIME, SECOND..=24 * HOUR);
        let signing_key_lifetime = reader.duration(&SIGNING_KEY_LIFETIME, SHORTEST_KEY..=3653 * DAY);
        // A key is published for ten minutes before it signs.
        let interval = reader.duration(
            &SIGNING_KEY_INTERVAL,
            Duration::from_millis(100)..=Duration::from_secs(300),
        );
        let password_reset = reader.duration(&PASSWORD_RESET_LIFETIME, SECOND..=30 * DAY);
        let email_verification = reader.duration(&EMAIL_VERIFICATION_LIFETIME, SECOND..=30 * DAY);
        Some(Self {
            access: AccessTokenPolicy {
                issuer: issuer?,
                audience: audience?,
                lifetime: to_span(lifetime?),
            },
            signing_key_lifetime: to_span(signing_key_lifetime?),
            signing_key_interval: interval?,
            one_time: OneTimeTokenLifetimes {
                password_reset: to_span(password_reset?),
                email_verification: to_span(email_verification?),
            },
        })
    }
}

fn name(text: &str) -> Result<String, String> {
    const MAX_CHARACTERS: usize = 255;
    let is_short = text.chars().count() <= MAX_CHARACTERS;
    if is_short
        && !text
            .chars()
            .any(|character| character.is_control() || character.is_whitespace())
    {
        Ok(text.to_owned())
    } else {
        Err("must be a name or a URL of at most 255 characters, without spaces".to_owned())
    }
}
