//! What the service does by itself: it removes what has expired, and keeps its signing keys fresh.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use prometheus_client::metrics::counter::Counter;

use crate::clock::Clock;
use crate::database::{Database, DatabaseError};
use crate::domain::SigningKeyRecord;
use crate::grpc::Authorizer;
use crate::repositories::{
    LockoutRepository, LoginAttemptRepository, OneTimeTokenRepository, RefreshTokenRepository,
    RequestIdRepository, SessionRepository, UserEventRepository,
};
use crate::tokens::{ServiceTokens, SigningKeys, TokenError};

/// Upkeep, for as long as the server runs.
#[derive(Clone)]
pub struct Upkeep {
    /// What removes what has expired.
    pub purge: Purge,
    /// The signing keys.
    pub signing_keys: SigningKeys,
    /// The age at which a signing key gets a successor.
    pub signing_key_lifetime: TimeDelta,
    /// How often the keys are read again.
    pub signing_key_interval: Duration,
    /// The service tokens.
    pub service_tokens: ServiceTokens,
    /// How often the service tokens are read again.
    pub service_token_interval: Duration,
    /// Who may call.
    pub authorizer: Authorizer,
    /// Counts the rounds in which everything that has expired was looked for.
    pub purges: Counter,
}

/// Removes what has expired.
#[derive(Clone)]
pub struct Purge {
    /// The database.
    pub database: Database,
    /// How many days attempts to sign in are kept.
    pub attempt_retention_days: i64,
    /// How many days events are kept.
    pub event_retention_days: i64,
}

impl Upkeep {
    /// Keeps up for as long as the server runs.
    pub async fn keep_up(&self, clock: Arc<dyn Clock>) {
        tokio::join!(
            self.keep_purging(&clock),
            self.keep_keys_fresh(&clock),
            self.keep_tokens_fresh()
        );
    }

    /// Reads the signing keys, and makes the first one if there is none.
    pub async fn prepare_keys(&self, now: DateTime<Utc>) -> Result<(), TokenError> {
        self.signing_keys.reload().await?;
        self.rotate_keys(now).await
    }

    async fn rotate_keys(&self, now: DateTime<Utc>) -> Result<(), TokenError> {
        let plan = self
            .signing_keys
            .rotate_by_age(self.signing_key_lifetime, now)
            .await?;
        if let Some(key) = plan.inserted {
            tracing::info!(kid = key.kid, activates_at = %key.activates_at, "signing key made");
        }
        Ok(())
    }

    async fn keep_keys_fresh(&self, clock: &Arc<dyn Clock>) {
        let mut ticks = tokio::time::interval(self.signing_key_interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // They have just been read.
        ticks.tick().await;
        loop {
            ticks.tick().await;
            let before = self.signing_keys.records();
            let outcome = match self.signing_keys.reload().await {
                Ok(()) => self.rotate_keys(clock.now()).await,
                Err(error) => Err(error),
            };
            self.log_revoked(&before);
            if let Err(error) = outcome {
                tracing::warn!(%error, "the signing keys could not be read");
            }
        }
    }

    async fn keep_tokens_fresh(&self) {
        let mut ticks = tokio::time::interval(self.service_token_interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let recorded = self.service_tokens.record_uses().await;
            let outcome = recorded.and(self.service_tokens.reload().await);
            if let Err(error) = outcome {
                tracing::warn!(%error, "the service tokens could not be read");
            }
        }
    }

    /// Logs which of the keys there were before have been revoked.
    fn log_revoked(&self, before: &[SigningKeyRecord]) {
        for key in self.signing_keys.records() {
            let was_good = before
                .iter()
                .any(|earlier| earlier.kid == key.kid && earlier.revoked_at.is_none());
            if was_good && key.revoked_at.is_some() {
                let kid = key.kid;
                tracing::warn!(kid, "signing key revoked; its tokens are not accepted any more");
            }
        }
    }

    async fn keep_purging(&self, clock: &Arc<dyn Clock>) {
        /// Often enough that tables hold little more than what is kept.
        const PERIOD: Duration = Duration::from_secs(600);
        let mut ticks = tokio::time::interval(PERIOD);
        loop {
            ticks.tick().await;
            let outcomes = self.purge.run(clock.now()).await;
            self.authorizer.forget_idle_callers();
            self.purges.inc();
            for (what, outcome) in outcomes {
                match outcome {
                    Ok(0) => {}
                    Ok(purged) => tracing::info!(purged, what, "purged"),
                    Err(error) => tracing::warn!(%error, what, "could not be purged"),
                }
            }
        }
    }
}

impl Purge {
    /// Removes what has expired, in small batches, and returns how much of what.
    pub async fn run(&self, now: DateTime<Utc>) -> Vec<(&'static str, Result<usize, DatabaseError>)> {
        let database = || self.database.clone();
        let tokens = RefreshTokenRepository::new(database());
        let attempts = LoginAttemptRepository::new(database());
        let events = UserEventRepository::new(database());
        vec![
            (
                "request ids",
                RequestIdRepository::new(database()).purge(now).await,
            ),
            ("sessions", SessionRepository::new(database()).purge(now).await),
            (
                "refresh tokens",
                tokens
                    .delete_expired(RefreshTokenRepository::KEPT_DAYS, now)
                    .await,
            ),
            (
                "one-time tokens",
                OneTimeTokenRepository::new(database()).purge(now).await,
            ),
            (
                "login attempts",
                attempts.delete_old(self.attempt_retention_days, now).await,
            ),
            ("lockouts", LockoutRepository::purge(&self.database, now).await),
            (
                "user events",
                events.delete_old(self.event_retention_days, now).await,
            ),
        ]
    }
}
