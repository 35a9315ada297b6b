//! A user as a line of JSON: what `identity import` reads and `identity export` writes. The fields are those of
//! `ImportedUser` in the API.

use std::fmt;

use chrono::{DateTime, Datelike, NaiveDate, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use crate::domain::{
    BirthDate, FirebasePassword, ForeignPassword, ForeignPasswordHash, ImportRecord, Invalid, Profile,
    User,
};

/// The line of a user. Its `Debug` prints nothing of it.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct UserLine {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) user_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) email: String,
    #[serde(skip_serializing_if = "is_false")]
    email_verified: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) username: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    full_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    birth_date: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_active: Option<bool>,
    #[serde(skip_serializing_if = "is_false")]
    is_blocked: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    block_reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    create_time: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    password_hash: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    keycloak_password: Option<KeycloakLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    firebase_password: Option<FirebaseLine>,
}

/// A password as Keycloak exports it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeycloakLine {
    secret_data: String,
    credential_data: String,
}

/// A password as Firebase exports it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FirebaseLine {
    password_hash: String,
    salt: String,
    signer_key: String,
    #[serde(default)]
    salt_separator: String,
    rounds: u32,
    memory_cost: u32,
}

impl FirebaseLine {
    fn password(&self) -> FirebasePassword<'_> {
        FirebasePassword {
            hash: &self.password_hash,
            salt: &self.salt,
            signer_key: &self.signer_key,
            salt_separator: &self.salt_separator,
            rounds: self.rounds,
            memory_cost: self.memory_cost,
        }
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands fields over by reference"
)]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// Reads a time of the years that a timestamp has, as exact as it is kept.
fn parse_time(text: &str) -> Result<DateTime<Utc>, Invalid> {
    const YEARS: std::ops::RangeInclusive<i32> = 1..=9999;
    DateTime::parse_from_rfc3339(text)
        .ok()
        .and_then(|time| DateTime::from_timestamp_micros(time.timestamp_micros()))
        .filter(|time| YEARS.contains(&time.year()))
        .ok_or_else(|| Invalid::format("must be a time such as 2026-01-31T12:00:00Z"))
}

impl fmt::Debug for UserLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserLine([redacted])")
    }
}

impl UserLine {
    /// Returns the line as every import takes it.
    pub(super) fn into_record(self, now: DateTime<Utc>) -> ImportRecord {
        let password = self.password();
        let birth_date = self.birth_date.as_deref().map(|text| {
            let date = NaiveDate::parse_from_str(text, "%Y-%m-%d")
                .map_err(|_| Invalid::format("must be a date such as 1815-12-10"))?;
            let (month, day) = (date.month().cast_signed(), date.day().cast_signed());
            BirthDate::parse(date.year(), month, day, now.date_naive())
        });
        let created_at = self.create_time.as_deref().map(parse_time);
        ImportRecord {
            user_id: self.user_id,
            email: self.email,
            email_verified: self.email_verified,
            username: self.username,
            full_name: self.full_name,
            birth_date: birth_date.transpose(),
            is_active: self.is_active.unwrap_or(true),
            is_blocked: self.is_blocked,
            block_reason: self.block_reason,
            created_at: created_at.transpose(),
            password,
        }
    }

    fn password(&self) -> Result<Option<ForeignPasswordHash>, Invalid> {
        let keycloak = self.keycloak_password.as_ref();
        ForeignPassword {
            text: &self.password_hash,
            keycloak: keycloak.map(|one| (one.secret_data.as_str(), one.credential_data.as_str())),
            firebase: self.firebase_password.as_ref().map(FirebaseLine::password),
        }
        .parse()
    }

    /// Writes a user down, without the hash of its password unless that is wanted.
    pub(super) fn of(user: &User, with_password_hash: bool) -> Self {
        let Profile {
            email,
            username,
            full_name,
            birth_date,
        } = &user.profile;
        let own = user.password_hash.as_ref().map(|hash| hash.reveal());
        let imported = user.imported_password.as_ref().map(|hash| hash.reveal());
        let hash = own.or(imported).filter(|_| with_password_hash);
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        Self {
            user_id: user.id.to_string(),
            email: text(email.as_ref().map(|email| email.as_str())),
            email_verified: user.email_verified_at.is_some(),
            username: text(username.as_ref().map(|username| username.as_str())),
            full_name: text(full_name.as_ref().map(|name| name.as_str())),
            birth_date: birth_date.map(|date| date.date().format("%Y-%m-%d").to_string()),
            is_active: (!user.is_active).then_some(false),
            is_blocked: user.is_blocked,
            block_reason: text(user.block_reason.as_ref().map(|reason| reason.as_str())),
            create_time: Some(user.created_at.to_rfc3339_opts(SecondsFormat::Micros, true)),
            password_hash: text(hash),
            keycloak_password: None,
            firebase_password: None,
        }
    }
}
