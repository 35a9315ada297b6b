//! Conversions between the messages of the API and the domain: inwards every violation is collected,
//! outwards nothing can fail.

mod events;
mod oauth_accounts;
mod sessions;

pub(super) use events::{actor_filter, event_types};
pub(super) use oauth_accounts::{
    account_id, id_token, nonce, provider, provider_name, subject, unknown_provider,
};
pub(super) use sessions::{
    client, identifier, presented_password, session_id, to_count, tokens_to_proto,
};

use std::collections::BTreeSet;

use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Utc};
use prost_types::Timestamp;

use crate::domain::{
    AuthProvider, BirthDate, BlockReason, Email, Etag, FullName, Invalid, MissingFields, Password,
    PasswordPolicy, Profile, ProfileField, User, UserId, Username,
};
use crate::grpc::violations::Violations;
use crate::proto::google::r#type::Date;
use crate::proto::identity::v1 as proto;
use crate::proto::identity::v1::ErrorReason;
use crate::tokens::SecretToken;

impl From<User> for proto::User {
    fn from(user: User) -> Self {
        let etag = user.etag().into_string();
        let password_set = user.has_password();
        let auth_provider = proto::AuthProvider::from(user.began_with()).into();
        let Profile {
            email,
            username,
            full_name,
            birth_date,
        } = user.profile;
        Self {
            id: user.id.to_string(),
            email: email.map(Email::into_string).unwrap_or_default(),
            email_verified: user.email_verified_at.is_some(),
            username: username.map(Username::into_string).unwrap_or_default(),
            full_name: full_name.map(FullName::into_string).unwrap_or_default(),
            birth_date: birth_date.map(|date| date_to_proto(date.date())),
            auth_provider,
            is_active: user.is_active,
            is_blocked: user.is_blocked,
            block_reason: user
                .block_reason
                .map(BlockReason::into_string)
                .unwrap_or_default(),
            password_set,
            create_time: Some(time_to_proto(user.created_at)),
            update_time: Some(time_to_proto(user.updated_at)),
            etag,
        }
    }
}

impl From<Option<AuthProvider>> for proto::AuthProvider {
    fn from(provider: Option<AuthProvider>) -> Self {
        match provider {
            None => Self::Unspecified,
            Some(AuthProvider::Password) => Self::Password,
            Some(AuthProvider::Google) => Self::Google,
            Some(AuthProvider::Apple) => Self::Apple,
            Some(AuthProvider::Oidc) => Self::Oidc,
        }
    }
}

fn date_to_proto(date: NaiveDate) -> Date {
    Date {
        year: date.year(),
        // Months and days are small numbers.
        month: i32::try_from(date.month()).unwrap_or_default(),
        day: i32::try_from(date.day()).unwrap_or_default(),
    }
}

/// Converts a time, keeping its microseconds.
pub(crate) fn time_to_proto(time: DateTime<Utc>) -> Timestamp {
    Timestamp {
        seconds: time.timestamp(),
        nanos: i32::try_from(time.timestamp_subsec_nanos()).unwrap_or_default(),
    }
}

/// Converts a time from a caller, rounded up to the microsecond.
///
/// Stored times are whole microseconds: such a time is at or after a finer one, or before it, exactly when
/// it is so for the next whole microsecond.
pub(super) fn time_from_proto(time: &Timestamp) -> Result<DateTime<Utc>, Invalid> {
    /// What google.protobuf.Timestamp allows: the years 1 to 9999.
    const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
    const NANOS_PER_MICROSECOND: u32 = 1_000;
    u32::try_from(time.nanos)
        .ok()
        .filter(|nanos| *nanos < 1_000_000_000 && SECONDS.contains(&time.seconds))
        .and_then(|nanos| {
            let microseconds = TimeDelta::microseconds(nanos.div_ceil(NANOS_PER_MICROSECOND).into());
            DateTime::from_timestamp(time.seconds, 0)?.checked_add_signed(microseconds)
        })
        .ok_or_else(|| Invalid::format("must be a time in the years 1 to 9999"))
}

/// Converts the date of birth of `user`, if there is one.
pub(super) fn birth_date(date: Option<&Date>, now: DateTime<Utc>) -> Result<Option<BirthDate>, Invalid> {
    date.map(|date| BirthDate::parse(date.year, date.month, date.day, now.date_naive()))
        .transpose()
}

/// Parses a text that may be empty, which means that there is none.
pub(super) fn optional<T>(
    text: &str,
    parse: impl FnOnce(&str) -> Result<T, Invalid>,
) -> Result<Option<T>, Invalid> {
    if text.is_empty() {
        Ok(None)
    } else {
        parse(text).map(Some)
    }
}

/// Converts the profile in `user`.
fn profile(user: &proto::User, now: DateTime<Utc>, violations: &mut Violations) -> Option<Profile> {
    let email = violations.take("user.email", optional(&user.email, Email::parse));
    let username = violations.take("user.username", optional(&user.username, Username::parse));
    let full_name = violations.take("user.full_name", optional(&user.full_name, FullName::parse));
    let birth_date = violations.take("user.birth_date", birth_date(user.birth_date.as_ref(), now));
    Some(Profile {
        email: email?,
        username: username?,
        full_name: full_name?,
        birth_date: birth_date?,
    })
}

/// Converts what the profile in `user`, if there is one, has beside an email, which comes from elsewhere.
pub(super) fn profile_without_email(
    user: Option<&proto::User>,
    now: DateTime<Utc>,
    violations: &mut Violations,
) -> Option<Profile> {
    let Some(user) = user else {
        return Some(Profile::default());
    };
    let without_email = proto::User {
        email: String::new(),
        ..user.clone()
    };
    profile(&without_email, now, violations)
}

/// Converts the profile of a user to be created, who needs a login name and whatever the deployment asks for.
pub(super) fn new_profile(
    user: Option<&proto::User>,
    required: &BTreeSet<ProfileField>,
    now: DateTime<Utc>,
    violations: &mut Violations,
) -> Option<Profile> {
    let Some(user) = user else {
        return violations.take("user", Err(Invalid::required("must be given")));
    };
    let missing = MissingFields::find(required, |field| has_value(user, field));
    for field in missing.required {
        let name = format!("user.{}", field.name());
        violations.add(&name, ErrorReason::FieldRequired, "must be given");
    }
    if missing.login_name {
        let text = "a user needs an email or a username";
        violations.add("user.email", ErrorReason::FieldRequired, text);
    }
    profile(user, now, violations)
}

/// Converts a new password of a user with a profile.
pub(super) fn new_password(
    field: &str,
    text: &str,
    policy: PasswordPolicy,
    known: &Profile,
    violations: &mut Violations,
) -> Option<Password> {
    let parsed = if text.is_empty() {
        Err(Invalid::required("must be given"))
    } else {
        Password::parse_new(text, policy, known)
    };
    violations.take(field, parsed)
}

/// Converts a token that must be given.
pub(super) fn token(field: &str, text: &str, violations: &mut Violations) -> Option<SecretToken> {
    /// The longest token of this service has about 700 bytes.
    const MAX_BYTES: usize = 4096;
    token_of(MAX_BYTES, field, text, violations)
}

/// Converts a token of at most so many bytes that must be given.
fn token_of(
    max_bytes: usize,
    field: &str,
    text: &str,
    violations: &mut Violations,
) -> Option<SecretToken> {
    let parsed = if text.is_empty() {
        Err(Invalid::required("must be given"))
    } else if text.len() > max_bytes {
        Err(Invalid::too_long(max_bytes, "bytes"))
    } else if text.contains('\0') {
        Err(Invalid::format("must not contain NUL"))
    } else {
        Ok(SecretToken::new(text.to_owned()))
    };
    violations.take(field, parsed)
}

/// Tells whether a field of the profile in `user` has a value.
pub(super) fn has_value(user: &proto::User, field: ProfileField) -> bool {
    match field {
        ProfileField::Email => !user.email.is_empty(),
        ProfileField::Username => !user.username.is_empty(),
        ProfileField::FullName => !user.full_name.is_empty(),
        ProfileField::BirthDate => user.birth_date.is_some(),
    }
}

/// Converts the id of a user that must be given.
pub(super) fn user_id(field: &str, text: &str, violations: &mut Violations) -> Option<UserId> {
    let parsed = if text.is_empty() {
        Err(Invalid::required("must be given"))
    } else {
        UserId::parse(text)
    };
    violations.take(field, parsed)
}

/// Converts an etag that may be empty. `None` is returned for a mistake.
pub(super) fn etag(field: &str, text: &str, violations: &mut Violations) -> Option<Option<Etag>> {
    let parsed = optional(text, |text| {
        if text.chars().count() > Etag::MAX_CHARACTERS {
            Err(Invalid::too_long(Etag::MAX_CHARACTERS, "characters"))
        } else if text.chars().any(char::is_control) {
            Err(Invalid::format("must not contain control characters"))
        } else {
            Ok(Etag::from_caller(text.to_owned()))
        }
    });
    violations.take(field, parsed)
}
