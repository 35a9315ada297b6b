//! What an ID token must say to be believed (OpenID Connect Core 1.0 §3.1.3.7), and what is taken from it.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value};

use super::provider::{EmailTrust, ProviderConfig};
use crate::domain::{AccountKey, ClaimedEmail, Email, ExternalIdentity, FullName, Subject};

/// How far the clock of an issuer may be from ours.
const LEEWAY: TimeDelta = TimeDelta::seconds(5);

/// Reads the claims of a token whose signature is right, or says what is wrong with them.
pub(super) fn read(
    claims: &Map<String, Value>,
    provider: &ProviderConfig,
    nonce: Option<&str>,
    now: DateTime<Utc>,
) -> Result<ExternalIdentity, &'static str> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    if !text("iss").is_some_and(|issuer| provider.is_issuer(issuer)) {
        return Err("it is of another issuer");
    }
    check_audience(claims, provider)?;
    check_times(claims, now)?;
    check_nonce(claims, nonce)?;
    let subject = text("sub").and_then(|sub| Subject::parse(sub).ok());
    Ok(ExternalIdentity {
        provider: provider.name.clone(),
        key: AccountKey {
            issuer: provider.issuer.clone(),
            subject: subject.ok_or("it does not say whom it is about")?,
        },
        email: claimed_email(claims, provider.emails),
        full_name: text("name").and_then(|name| FullName::parse(name).ok()),
    })
}

/// Checks that one of our applications is meant. A token for several must say which one asked for it, and one that
/// says so must have been asked for by one of ours.
fn check_audience(claims: &Map<String, Value>, provider: &ProviderConfig) -> Result<(), &'static str> {
    let is_ours = |value: &Value| value.as_str().is_some_and(|id| provider.client_ids.contains(id));
    let (is_for_us, is_for_several) = match claims.get("aud") {
        Some(one @ Value::String(_)) => (is_ours(one), false),
        Some(Value::Array(all)) if all.iter().all(Value::is_string) => {
            (all.iter().any(is_ours), all.len() > 1)
        }
        _ => (false, false),
    };
    if !is_for_us {
        return Err("it is for another application");
    }
    match claims.get("azp") {
        None if is_for_several => Err("it does not say which application asked for it"),
        Some(party) if !is_ours(party) => Err("another application asked for it"),
        _ => Ok(()),
    }
}

/// A number that is not whole is not a time that an issuer writes.
fn check_times(claims: &Map<String, Value>, now: DateTime<Utc>) -> Result<(), &'static str> {
    let time = |name: &str| DateTime::from_timestamp(claims.get(name)?.as_i64()?, 0);
    let expires_at = time("exp").ok_or("it does not say when it expires")?;
    let issued_at = time("iat").ok_or("it does not say when it was issued")?;
    let not_before = if claims.contains_key("nbf") {
        time("nbf").ok_or("it does not say from when it is good")?
    } else {
        issued_at
    };
    // Our own time is moved: a time of the token may be the last one there is.
    if expires_at <= now - LEEWAY {
        return Err("it has expired");
    }
    if issued_at > now + LEEWAY || not_before > now + LEEWAY {
        return Err("it is of the future");
    }
    Ok(())
}

/// A token with a nonce was asked for by a client that wants it checked. Whoever leaves the check out would take a
/// token that was stolen from somewhere else.
fn check_nonce(claims: &Map<String, Value>, expected: Option<&str>) -> Result<(), &'static str> {
    match (claims.get("nonce"), expected) {
        (None, None) => Ok(()),
        (Some(nonce), Some(expected)) if nonce.as_str() == Some(expected) => Ok(()),
        (Some(_), None) => Err("its nonce was not given"),
        (None | Some(_), Some(_)) => Err("its nonce is another one"),
    }
}

/// Returns the address, if the token names one that is well-formed.
fn claimed_email(claims: &Map<String, Value>, trust: EmailTrust) -> Option<ClaimedEmail> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let email = Email::parse(text("email")?).ok()?;
    let is_verified = match claims.get("email_verified") {
        Some(Value::Bool(is_verified)) => *is_verified,
        // Apple documents the claim as a string or a boolean; from anybody else a string says nothing.
        Some(Value::String(said)) => trust == EmailTrust::Apple && said == "true",
        _ => false,
    };
    Some(ClaimedEmail {
        is_authoritative: is_verified && trust.covers(&email, text("hd")),
        is_verified,
        email,
    })
}
