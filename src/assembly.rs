//! Puts the parts of the service together from the settings.

use std::sync::Arc;

use chrono::TimeDelta;

use crate::clock::Clock;
use crate::config::Settings;
use crate::database::Database;
use crate::derived_ids::DerivedIds;
use crate::feed::{FeedParts, UserFeed};
use crate::grpc::{
    Auth, AuthServiceImpl, Authorizer, CredentialServiceImpl, Credentials, OAuthAccountServiceImpl,
    OAuthAccounts, PageTokens, RequestFingerprints, ResumeTokens, Security, SecurityServiceImpl,
    ServerStatus, Services, SessionServiceImpl, Sessions, StatusServiceImpl, UserServiceImpl, Users,
};
use crate::health::Health;
use crate::id_tokens::IdTokens;
use crate::master_key::MasterKey;
use crate::password_hashing::PasswordHasher;
use crate::repositories::{
    LockoutRepository, LoginAttemptRepository, OAuthAccountRepository, OneTimeTokenRepository,
    RequestIdRepository, ServiceTokenRepository, SessionRepository, SigningKeyRepository,
    UserEventRepository, UserRepository,
};
use crate::sign_in::{Authenticator, Parts};
use crate::telemetry::Metrics;
use crate::tokens::{AccessTokens, RefreshTokens, ServiceTokens, SigningKeys};
use crate::upkeep::{Purge, Upkeep};

/// What the service is put together from.
pub(crate) struct Assembly<'a> {
    /// The settings.
    pub(crate) settings: &'a Settings,
    /// The key that other keys are derived from.
    pub(crate) master_key: &'a MasterKey,
    /// The database.
    pub(crate) database: &'a Database,
    /// The health.
    pub(crate) health: &'a Health,
    /// The metrics.
    pub(crate) metrics: &'a Metrics,
    /// The providers.
    pub(crate) id_tokens: &'a IdTokens,
    /// The time.
    pub(crate) clock: &'a Arc<dyn Clock>,
}

/// The service, put together.
pub(crate) struct Assembled {
    /// What is called.
    pub(crate) services: Services,
    /// Who may call.
    pub(crate) authorizer: Authorizer,
    /// What hashes passwords.
    pub(crate) hasher: PasswordHasher,
    /// What runs beside.
    pub(crate) upkeep: Upkeep,
    /// What follows the changes of users.
    pub(crate) feed: UserFeed,
}

impl Assembly<'_> {
    /// Puts the service together; `None` if a key cannot be derived.
    pub(crate) fn assemble(&self) -> Option<Assembled> {
        let settings = self.settings;
        let database = || self.database.clone();
        let (hashing, metrics) = (settings.passwords.hashing, self.metrics.hashing.clone());
        let hasher = PasswordHasher::new(hashing, metrics, self.database.server_work());
        let access = settings.tokens.access.clone();
        let keys = SigningKeyRepository::new(database());
        let signing_keys = SigningKeys::new(keys, self.master_key, access.lifetime)?;
        let lockouts = LockoutRepository::new(database(), settings.lockout.policy, self.master_key);
        let users = UserRepository::new(database());
        let request_ids = RequestIdRepository::new(database());
        let sessions = SessionRepository::new(database());
        let oauth_accounts = OAuthAccountRepository::new(database());
        let login_attempts = LoginAttemptRepository::new(database());
        let one_time_tokens = OneTimeTokenRepository::new(database());
        let user_events = UserEventRepository::new(database());
        let feed = UserFeed::new(FeedParts {
            events: user_events.clone(),
            users: users.clone(),
            settings: settings.watch,
            retention: TimeDelta::days(settings.events.retention_days),
            health: self.health.clone(),
            clock: Arc::clone(self.clock),
            metrics: self.metrics.watch.clone(),
        });
        let page_tokens = PageTokens::new(self.master_key)?;
        let fingerprints = RequestFingerprints::new(self.master_key);
        let authenticator = Authenticator::new(Parts {
            users: users.clone(),
            sessions: sessions.clone(),
            oauth_accounts: oauth_accounts.clone(),
            login_attempts: login_attempts.clone(),
            lockouts: lockouts.clone(),
            hasher: hasher.clone(),
            access_tokens: AccessTokens::new(signing_keys.clone(), access),
            refresh_tokens: RefreshTokens::new(self.master_key),
            session_policy: settings.sessions.policy,
            required_fields: settings.profile.required.clone(),
            provider_sign_up: settings.providers.sign_up,
            clock: Arc::clone(self.clock),
            metrics: self.metrics.sign_in.clone(),
        });
        let service_tokens = ServiceTokens::new(
            ServiceTokenRepository::new(database()),
            self.metrics.service_token_readings.clone(),
        );
        let authorizer = Authorizer::new(
            &settings.authorization,
            service_tokens.clone(),
            authenticator.clone(),
            self.clock,
        );
        let upkeep = Upkeep {
            purge: Purge {
                database: database(),
                attempt_retention_days: settings.lockout.retention_days,
                event_retention_days: settings.events.retention_days,
            },
            signing_keys: signing_keys.clone(),
            signing_key_lifetime: settings.tokens.signing_key_lifetime,
            signing_key_interval: settings.tokens.signing_key_interval,
            service_tokens,
            service_token_interval: settings.authorization.service_token_interval,
            authorizer: authorizer.clone(),
            purges: self.metrics.purges.clone(),
        };
        let services = Services {
            users: UserServiceImpl::new(Users {
                users: users.clone(),
                oauth_accounts: oauth_accounts.clone(),
                sessions: sessions.clone(),
                login_attempts: login_attempts.clone(),
                user_events: user_events.clone(),
                request_ids: request_ids.clone(),
                hasher: hasher.clone(),
                password_policy: settings.passwords.policy,
                required_fields: settings.profile.required.clone(),
                page_tokens: page_tokens.clone(),
                derived_ids: DerivedIds::new(self.master_key),
                fingerprints: fingerprints.clone(),
                feed: feed.clone(),
                resume_tokens: ResumeTokens::new(self.master_key)?,
                id_tokens: self.id_tokens.clone(),
            }),
            auth: AuthServiceImpl::new(Auth {
                authenticator: authenticator.clone(),
                signing_keys,
                request_ids: request_ids.clone(),
                hasher: hasher.clone(),
                password_policy: settings.passwords.policy,
                required_fields: settings.profile.required.clone(),
                sign_up: settings.sessions.sign_up,
                fingerprints: fingerprints.clone(),
                id_tokens: self.id_tokens.clone(),
            }),
            credentials: CredentialServiceImpl::new(Credentials {
                authenticator,
                users: users.clone(),
                one_time_tokens,
                request_ids,
                hasher: hasher.clone(),
                password_policy: settings.passwords.policy,
                lifetimes: settings.tokens.one_time,
                fingerprints: fingerprints.clone(),
            }),
            oauth_accounts: OAuthAccountServiceImpl::new(OAuthAccounts {
                oauth_accounts,
                id_tokens: self.id_tokens.clone(),
                fresh_sign_in: settings.providers.fresh_sign_in,
                page_tokens: page_tokens.clone(),
                fingerprints,
            }),
            sessions: SessionServiceImpl::new(Sessions {
                sessions,
                page_tokens: page_tokens.clone(),
            }),
            security: SecurityServiceImpl::new(Security {
                users,
                login_attempts,
                lockouts,
                user_events,
                page_tokens,
            }),
            status: StatusServiceImpl::new(ServerStatus::new(
                database(),
                self.health.clone(),
                hasher.clone(),
                self.clock.now(),
            )),
        };
        Some(Assembled {
            services,
            authorizer,
            hasher,
            upkeep,
            feed,
        })
    }
}
