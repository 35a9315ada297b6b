//! ID tokens of other issuers (OpenID Connect Core 1.0): who may vouch for whom, and with which keys.
//!
//! Everything that decides is configuration: the issuers, whom their tokens must be for, and where their keys are. Nothing
//! that a client sends is ever fetched, and nothing in a token chooses how it is verified: the algorithm is that
//! of the key, and `kid` is looked up among the keys of the issuer that the caller names.

mod claims;
mod fetch;
mod json;
mod jwks;
mod key_cache;
mod provider;
mod token;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

pub use fetch::ProviderSetupError;
pub(crate) use fetch::may_be_fetched;
pub use provider::{APPLE_ISSUER, EmailTrust, GOOGLE_ISSUER, KeySource, ProviderConfig};

use chrono::{DateTime, Utc};

use crate::clock::Clock;
use crate::config::ProviderSettings;
use crate::domain::{AccountKey, ExternalIdentity, ProviderName, Subject};
use fetch::Fetcher;
use key_cache::{KeyCache, KeyError};
use token::Unverified;

/// The most bytes of an ID token. Those of the large providers have one to three thousand.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// Why an ID token does not sign anybody in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdTokenError {
    /// It is not one of the provider, for us, for now. What exactly is wrong is said in the log and not to the caller.
    #[error("the ID token was rejected")]
    Rejected,
    /// The keys of the provider cannot be fetched, and there are none that can be used.
    #[error("the keys of the provider cannot be fetched")]
    Unavailable {
        /// When it is worth trying again.
        retry_after: Duration,
    },
}

/// The providers that may vouch for people. Cheap to clone.
#[derive(Clone)]
pub struct IdTokens(Arc<HashMap<ProviderName, Provider>>);

/// A provider. Cheap to clone.
#[derive(Clone)]
pub struct Provider {
    config: Arc<ProviderConfig>,
    keys: KeyCache,
}

impl IdTokens {
    /// Prepares the providers. Nothing is fetched before the first token comes.
    pub fn new(settings: &ProviderSettings, clock: &Arc<dyn Clock>) -> Result<Self, ProviderSetupError> {
        let mut providers = HashMap::new();
        let fetcher = if settings.providers.is_empty() {
            None
        } else {
            Some(Fetcher::new(settings.ca_file.as_deref(), settings.timeout)?)
        };
        for config in &settings.providers {
            let Some(fetcher) = &fetcher else { continue };
            let keys = KeyCache::new(config, fetcher.clone(), settings.keys, Arc::clone(clock));
            let provider = Provider {
                config: Arc::new(config.clone()),
                keys,
            };
            providers.insert(config.name.clone(), provider);
        }
        Ok(Self(Arc::new(providers)))
    }

    /// Returns the provider with a name.
    #[must_use]
    pub fn provider(&self, name: &ProviderName) -> Option<Provider> {
        self.0.get(name).cloned()
    }

    /// Returns what an account is known by; `None` for a provider that is not known. Google's and Apple's are known also
    /// where they are not switched on.
    #[must_use]
    pub fn account_key(&self, name: &ProviderName, subject: Subject) -> Option<AccountKey> {
        let issuer = match (self.0.get(name), name.as_str()) {
            (Some(provider), _) => provider.config.issuer.clone(),
            (None, ProviderName::GOOGLE) => GOOGLE_ISSUER.to_owned(),
            (None, ProviderName::APPLE) => APPLE_ISSUER.to_owned(),
            (None, _) => return None,
        };
        Some(AccountKey { issuer, subject })
    }
}

impl Provider {
    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &ProviderName {
        &self.config.name
    }

    /// Verifies an ID token and returns whom it is about. `nonce` is what the client made up when it asked for the
    /// token: a token must have it, and a token that has one needs it.
    pub async fn verify(
        &self,
        token: &str,
        nonce: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<ExternalIdentity, IdTokenError> {
        let unverified = self.accept(Unverified::parse(token))?;
        let key = match self.keys.find(&unverified.kid).await {
            Ok(key) => key,
            Err(KeyError::Unknown) => return self.accept(Err("no key of the provider has its kid")),
            Err(KeyError::Unavailable { retry_after }) => {
                return Err(IdTokenError::Unavailable { retry_after });
            }
        };
        let claims = self.accept(unverified.verify(&key))?;
        self.accept(claims::read(&claims, &self.config, nonce, now))
    }

    /// Says in the log why a token is rejected, which nobody else is told. Nothing of the token is quoted.
    fn accept<T>(&self, outcome: Result<T, &'static str>) -> Result<T, IdTokenError> {
        outcome.map_err(|reason| {
            tracing::debug!(provider = self.config.name.as_str(), reason, "ID token rejected");
            IdTokenError::Rejected
        })
    }
}
