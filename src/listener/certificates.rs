//! Takes new certificates without a restart: on SIGHUP, and by looking at the files every so often.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::tls::{Material, TlsConfig, TlsError, configure};
use crate::config::TlsFiles;
use crate::telemetry::ListenerMetrics;

/// Keeps what connections are secured with up to date.
pub(crate) struct Certificates {
    files: TlsFiles,
    /// What was tried last, whether it was good or not: a broken file is reported once.
    tried: Option<Material>,
    last_problem: Option<TlsError>,
    current: watch::Sender<TlsConfig>,
    metrics: ListenerMetrics,
    hang_up: Option<Signal>,
}

impl Certificates {
    /// Reads the files for the first time.
    pub(crate) fn load(files: TlsFiles, metrics: ListenerMetrics) -> Result<Self, TlsError> {
        let material = Material::read(&files)?;
        let config = configure(&files, &material)?;
        // Asked for now, so that a signal that comes early does not end the process.
        let hang_up = signal(SignalKind::hangup()).ok();
        Ok(Self {
            files,
            tried: Some(material),
            last_problem: None,
            current: watch::Sender::new(config),
            metrics,
            hang_up,
        })
    }

    /// Returns what connections are secured with, now and later.
    pub(super) fn current(&self) -> watch::Receiver<TlsConfig> {
        self.current.subscribe()
    }

    /// Looks at the files for as long as the server runs.
    pub(crate) async fn keep_fresh(mut self) {
        let mut ticks = interval(self.files.reload_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_asked = tokio::select! {
                _ = ticks.tick() => false,
                () = next_signal(&mut self.hang_up) => true,
            };
            if is_asked {
                // Whoever asks is told, also if nothing has changed.
                self.tried = None;
                self.last_problem = None;
            }
            let files = self.files.clone();
            let read = tokio::task::spawn_blocking(move || Material::read(&files)).await;
            let Ok(material) = read else {
                continue;
            };
            self.take(material);
        }
    }

    fn take(&mut self, read: Result<Material, TlsError>) {
        let outcome = match read {
            Ok(material) if self.tried.as_ref() == Some(&material) => return,
            Ok(material) => {
                let outcome = configure(&self.files, &material);
                self.tried = Some(material);
                outcome
            }
            Err(error) => {
                self.tried = None;
                Err(error)
            }
        };
        match outcome {
            Ok(config) => {
                self.last_problem = None;
                self.current.send_replace(config);
                self.metrics.count_reload(true);
                tracing::info!("the files of TLS were read; new connections use them");
            }
            Err(error) if self.last_problem.as_ref() == Some(&error) => {}
            Err(error) => {
                self.metrics.count_reload(false);
                tracing::error!(%error, "the files of TLS cannot be used; those before stay in use");
                self.last_problem = Some(error);
            }
        }
    }
}

async fn next_signal(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}
