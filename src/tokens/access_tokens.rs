//! Access tokens: JSON Web Tokens in the profile of RFC 9068.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::jws::{self, Unverified};
use super::verified_tokens::VerifiedTokens;
use super::{SecretToken, SigningKeys, TokenError, hash_of};
use crate::domain::{ClientId, Refusal, Session, SessionId, UserId, new_uuid};

/// What access tokens say beside whose they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessTokenPolicy {
    /// Who issues them: the claim `iss`.
    pub issuer: String,
    /// Whom they are for: the claim `aud`.
    pub audience: String,
    /// How long they live, in whole seconds.
    pub lifetime: TimeDelta,
}

/// Issues and verifies access tokens. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AccessTokens {
    keys: SigningKeys,
    policy: AccessTokenPolicy,
    verified: Arc<VerifiedTokens>,
}

/// A token, and when it expires.
#[derive(Debug, Clone)]
pub struct IssuedAccessToken {
    /// The token.
    pub token: SecretToken,
    /// When it expires.
    pub expires_at: DateTime<Utc>,
}

/// What a token says that was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessClaims {
    /// Whose it is: the claim `sub`.
    pub user_id: UserId,
    /// The session: the claim `sid`.
    pub session_id: SessionId,
    /// The application: the claim `client_id`.
    pub client_id: ClientId,
    /// Identifies the token: the claim `jti`, a UUID of version 7.
    pub token_id: Uuid,
    /// When it was issued, in whole seconds: the claim `iat`.
    pub issued_at: DateTime<Utc>,
    /// When it expires: the claim `exp`.
    pub expires_at: DateTime<Utc>,
    /// The key that signed it.
    pub kid: String,
}

impl AccessClaims {
    /// Tells whether the token was issued before a time, to the millisecond that its id holds: `iat` has only
    /// seconds, in which a password can be changed and a new session begun.
    #[must_use]
    pub fn is_issued_before(&self, time: DateTime<Utc>) -> bool {
        let milliseconds = self.token_id.get_timestamp().and_then(|timestamp| {
            let (seconds, nanos) = timestamp.to_unix();
            DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanos)
        });
        milliseconds.is_none_or(|issued_at| issued_at.timestamp_millis() < time.timestamp_millis())
    }
}

impl AccessTokens {
    /// How far ahead the clock of the issuer may be of the verifier's.
    const LEEWAY: TimeDelta = TimeDelta::seconds(5);

    /// Takes the keys and what tokens say.
    #[must_use]
    pub fn new(keys: SigningKeys, policy: AccessTokenPolicy) -> Self {
        Self {
            keys,
            policy,
            verified: Arc::default(),
        }
    }

    /// Issues a token for a session.
    pub fn issue(&self, session: &Session, now: DateTime<Utc>) -> Result<IssuedAccessToken, TokenError> {
        let issued_at = now.timestamp();
        let expires_at = issued_at.saturating_add(self.policy.lifetime.num_seconds());
        let claims = json!({
            "iss": self.policy.issuer,
            "aud": self.policy.audience,
            "sub": session.user_id.to_string(),
            "sid": session.id.to_string(),
            "client_id": session.client.client_id.as_str(),
            "jti": new_uuid(now).to_string(),
            "iat": issued_at,
            "exp": expires_at,
        });
        let key = self.keys.active(now)?;
        Ok(IssuedAccessToken {
            token: SecretToken::new(jws::sign(&claims, &key.kid, &key.pair)?),
            expires_at: DateTime::from_timestamp(expires_at, 0).unwrap_or(now),
        })
    }

    /// Verifies a token without asking the database: whether its session goes on is another question.
    ///
    /// A signature that was good is not looked at again. Whether its key is still one to be trusted, and whether the
    /// token has begun and not expired, is looked at every time.
    pub fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<AccessClaims, Refusal> {
        /// Ours have about 700; what is far longer is not looked at.
        const MAX_BYTES: usize = 4096;
        if token.len() > MAX_BYTES {
            return Err(Refusal::TokenInvalid);
        }
        let hash = hash_of(token);
        if let Some(claims) = self.verified.get(&hash) {
            let is_due = claims.issued_at <= now + Self::LEEWAY;
            if is_due && now < claims.expires_at && self.keys.is_published(&claims.kid, now) {
                return Ok(claims);
            }
            // It may be good again when a clock was set back; then it is verified like any other.
            self.verified.remove(&hash);
        }
        let claims = self.verify_signature(token, now)?;
        self.verified.insert(hash, claims.clone());
        Ok(claims)
    }

    fn verify_signature(&self, token: &str, now: DateTime<Utc>) -> Result<AccessClaims, Refusal> {
        let unverified = Unverified::parse(token).ok_or(Refusal::TokenInvalid)?;
        let public_key = self
            .keys
            .public_key(&unverified.kid, now)
            .ok_or(Refusal::TokenInvalid)?;
        let claims = unverified.verify(&public_key).ok_or(Refusal::TokenInvalid)?;
        let verified = self
            .read(&claims, unverified.kid, now)
            .ok_or(Refusal::TokenInvalid)?;
        if now >= verified.expires_at {
            return Err(Refusal::TokenExpired);
        }
        Ok(verified)
    }

    /// Reads claims; `None` if one is missing, has another type, or is not for us or not yet.
    fn read(
        &self,
        claims: &Map<String, Value>,
        kid: String,
        now: DateTime<Utc>,
    ) -> Option<AccessClaims> {
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        // A number that is not whole is not one that this service wrote.
        let time = |name: &str| DateTime::from_timestamp(claims.get(name)?.as_i64()?, 0);
        let is_for_us = match claims.get("aud")? {
            Value::String(audience) => *audience == self.policy.audience,
            Value::Array(audiences) => audiences
                .iter()
                .any(|audience| audience.as_str() == Some(&self.policy.audience)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
        };
        let not_before = match claims.get("nbf") {
            None => None,
            Some(_) => Some(time("nbf")?),
        };
        let issued_at = time("iat")?;
        let is_due = issued_at <= now + Self::LEEWAY
            && not_before.is_none_or(|not_before| not_before <= now + Self::LEEWAY);
        if text("iss")? != self.policy.issuer || !is_for_us || !is_due {
            return None;
        }
        Some(AccessClaims {
            user_id: UserId::parse(text("sub")?).ok()?,
            session_id: SessionId::parse(text("sid")?).ok()?,
            client_id: ClientId::parse(text("client_id")?).ok()?,
            token_id: Uuid::try_parse(text("jti")?).ok()?,
            issued_at,
            expires_at: time("exp")?,
            kid,
        })
    }
}
