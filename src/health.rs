//! Whether calls are expected to succeed, as the database's answers tell.
//!
//! `""` and each `identity.v1` service follow the database; `liveness` follows the process alone, so that an
//! outage of the database does not get the process restarted. Nothing is serving before the first good
//! probe; after that, one good probe brings the health up and several bad ones in a row bring it down. Only
//! transitions are sent to watchers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio::sync::watch;

use crate::clock::{Clock, CorrectedClock};
use crate::config::HealthSettings;
use crate::database::Probe;
use crate::telemetry::Metrics;

/// The name that follows the process alone.
pub const LIVENESS: &str = "liveness";

/// The state of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serving {
    /// Calls are expected to succeed.
    Yes,
    /// Calls are expected to fail.
    No,
}

/// What the last probes said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProbeReport {
    /// Whether the last probe was answered.
    pub is_connected: bool,
    /// How long the last answered probe took.
    pub latency: Option<Duration>,
    /// When the database was last probed.
    pub probed_at: Option<DateTime<Utc>>,
}

/// The health of the server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Health {
    services: Arc<[&'static str]>,
    database: watch::Sender<Serving>,
    report: watch::Sender<ProbeReport>,
    is_started: Arc<AtomicBool>,
    is_draining: Arc<AtomicBool>,
    has_ended: watch::Sender<bool>,
}

impl Health {
    /// Makes the health of a server with these services, which are not serving yet.
    #[must_use]
    pub fn new(services: impl IntoIterator<Item = &'static str>) -> Self {
        Self {
            services: services.into_iter().collect(),
            database: watch::Sender::new(Serving::No),
            report: watch::Sender::new(ProbeReport::default()),
            is_started: Arc::default(),
            is_draining: Arc::default(),
            has_ended: watch::Sender::new(false),
        }
    }

    /// Returns every name that has a health.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        ["", LIVENESS].into_iter().chain(self.services.iter().copied())
    }

    /// Returns the health of a name, and of nothing if there is no such name.
    #[must_use]
    pub fn check(&self, name: &str) -> Option<Serving> {
        if name == LIVENESS {
            return Some(Serving::Yes);
        }
        self.names()
            .any(|known| known == name)
            .then(|| *self.database.borrow())
    }

    /// Returns the health of what follows the database, now and whenever it changes.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Serving> {
        self.database.subscribe()
    }

    /// Returns what the last probes said.
    #[must_use]
    pub fn report(&self) -> ProbeReport {
        *self.report.borrow()
    }

    /// Tells whether the database has been migrated and can be used.
    #[must_use]
    pub fn is_started(&self) -> bool {
        self.is_started.load(Ordering::Acquire)
    }

    /// Notes that the database has been migrated and can be used.
    pub fn set_started(&self) {
        self.is_started.store(true, Ordering::Release);
    }

    /// Brings the health down for good: the server is about to end.
    pub fn drain(&self) {
        self.is_draining.store(true, Ordering::Release);
        self.set(Serving::No);
    }

    /// Tells whether the server is about to end.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Acquire)
    }

    /// Ends every watch: its client has heard that the server is about to end, and is to ask another one.
    pub fn end(&self) {
        self.has_ended.send_replace(true);
    }

    /// Tells whether watches have ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        *self.has_ended.borrow()
    }

    /// Waits until watches end.
    pub async fn ended(&self) {
        // An error means that nobody is left who could end them, which this health itself is.
        let _ = self.has_ended.subscribe().wait_for(|ended| *ended).await;
    }

    fn set(&self, serving: Serving) {
        self.database.send_if_modified(|state| {
            let is_up = serving == Serving::Yes && !self.is_draining();
            let next = if is_up { Serving::Yes } else { Serving::No };
            let is_changed = *state != next;
            *state = next;
            is_changed
        });
    }

    /// Probes the database for as long as the server runs.
    pub async fn follow(
        self,
        mut probe: Probe,
        settings: HealthSettings,
        clock: Arc<CorrectedClock>,
        metrics: Arc<Metrics>,
    ) {
        let period = settings.probe_period();
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut failures: u32 = 0;
        loop {
            ticks.tick().await;
            let asked = Instant::now();
            let answer = probe.ask(period).await;
            let latency = answer.is_ok().then(|| asked.elapsed());
            metrics.set_database(answer.is_ok(), latency.map(|latency| latency.as_secs_f64()));
            self.report.send_modify(|report| {
                report.is_connected = answer.is_ok();
                report.latency = latency.or(report.latency);
                report.probed_at = Some(clock.now());
            });
            let was_serving = *self.database.borrow() == Serving::Yes;
            match answer {
                Ok(database_time) => {
                    if let Some(time) = database_time {
                        clock.correct(time);
                    }
                    failures = 0;
                    self.set(Serving::Yes);
                    if !was_serving {
                        tracing::info!("the database answers; serving");
                    }
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    if failures >= settings.failures {
                        self.set(Serving::No);
                        if was_serving {
                            tracing::warn!(%error, failures, "the database does not answer; not serving");
                        }
                    }
                }
            }
        }
    }
}
