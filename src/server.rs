//! Puts the server together, runs it, and ends it.
//!
//! The listeners answer at once, so that probes can see a server that is starting; the database is migrated
//! behind them, and until then calls that need it are answered with UNAVAILABLE.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use crate::assembly::Assembly;
use crate::clock::{Clock, CorrectedClock};
use crate::config::{DatabaseUrl, Settings};
use crate::database::migrations::MigrationError;
use crate::database::{Database, DatabaseError, Probe};
use crate::grpc::{self, CallService, Routes};
use crate::health::Health;
use crate::http::{self, Operations};
use crate::id_tokens::{IdTokens, ProviderSetupError};
use crate::listener::{self, Certificates, Listener, TlsError};
use crate::master_key::{MasterKey, MasterKeyError};
use crate::repositories::{ServiceTokenRepository, UserEventRepository};
use crate::telemetry::Metrics;
use crate::tokens::{AdminTokenError, TokenError, admin_token_path, make_admin_token};
use crate::upkeep::Upkeep;

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The master key is missing or wrong.
    #[error(transparent)]
    MasterKey(#[from] MasterKeyError),
    /// An address cannot be listened on.
    #[error("{variable}: cannot listen on {address}: {error}")]
    Listen {
        /// The variable that has the address.
        variable: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        error: String,
    },
    /// Providers cannot be asked for their keys.
    #[error(transparent)]
    Providers(#[from] ProviderSetupError),
    /// The files of TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The data folder cannot be made.
    #[error("IDENTITY_DATA_DIR: {0}")]
    DataDir(std::io::Error),
    /// The database cannot be used.
    #[error("DATABASE_URL: {0}")]
    Database(#[from] DatabaseError),
    /// The migrations do not fit or failed.
    #[error("DATABASE_URL: {0}")]
    Migration(MigrationError),
    /// The signing keys cannot be read.
    #[error("IDENTITY_MASTER_KEY: {0}")]
    SigningKeys(TokenError),
    /// The token of the administrator cannot be made.
    #[error("IDENTITY_DATA_DIR: {0}")]
    AdminToken(AdminTokenError),
    /// There are migrations to apply, and the server was told not to.
    #[error(
        "DATABASE_URL: {0} migrations are pending and IDENTITY_MIGRATE is off; run `identity migrate up`"
    )]
    Pending(usize),
    /// The services cannot be put together: a fault of this program.
    #[error("the services cannot be put together: {0}")]
    Services(String),
}

impl StartError {
    /// Tells whether the database is merely not there yet.
    const fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Database(DatabaseError::Unavailable(_) | DatabaseError::Conflict(_))
        )
    }
}

impl From<MigrationError> for StartError {
    fn from(error: MigrationError) -> Self {
        match error {
            MigrationError::Database(cause) => Self::Database(cause),
            MigrationError::Edited(_)
            | MigrationError::Newer(_)
            | MigrationError::WouldLose { .. }
            | MigrationError::Failed { .. } => Self::Migration(error),
        }
    }
}

impl From<TokenError> for StartError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Database(cause) => Self::Database(cause),
            TokenError::WrongMasterKey
            | TokenError::NoActiveKey
            | TokenError::UnknownKey
            | TokenError::NoRandomness => Self::SigningKeys(error),
        }
    }
}

impl From<AdminTokenError> for StartError {
    fn from(error: AdminTokenError) -> Self {
        match error {
            AdminTokenError::Database(cause) => Self::Database(cause),
            AdminTokenError::Token(_) | AdminTokenError::File { .. } => Self::AdminToken(error),
        }
    }
}

/// A server that runs.
#[derive(Debug)]
pub struct RunningServer {
    grpc_address: SocketAddr,
    operations_address: SocketAddr,
    health: Health,
    drain_grace: Duration,
    drain_time: Duration,
    end: watch::Sender<bool>,
    failure: oneshot::Receiver<StartError>,
    grpc: tokio::task::JoinHandle<()>,
    background: JoinSet<()>,
}

impl RunningServer {
    /// Returns the address of the gRPC server.
    #[must_use]
    pub const fn grpc_address(&self) -> SocketAddr {
        self.grpc_address
    }

    /// Returns the address of the operations server.
    #[must_use]
    pub const fn operations_address(&self) -> SocketAddr {
        self.operations_address
    }

    /// Waits until the server finds that it cannot start after all; forever if it can.
    pub async fn failed(&mut self) -> StartError {
        match (&mut self.failure).await {
            Ok(error) => error,
            // The sender is gone because the start succeeded.
            Err(_) => std::future::pending().await,
        }
    }

    /// Ends the server: the health goes down, after the grace no new call is taken, and running ones finish within
    /// the drain time.
    pub async fn shutdown(mut self) {
        self.health.drain();
        tokio::time::sleep(self.drain_grace).await;
        self.health.end();
        let _ = self.end.send(true);
        if tokio::time::timeout(self.drain_time, &mut self.grpc)
            .await
            .is_err()
        {
            tracing::warn!(
                drain_seconds = self.drain_time.as_secs_f64(),
                "ending calls that did not finish in time"
            );
            self.grpc.abort();
        }
        self.background.shutdown().await;
    }
}

/// Starts the server. Returns as soon as it listens; whether it can go on to serve shows in its health, and
/// in [`RunningServer::failed`].
pub async fn start(
    settings: Settings,
    machine_clock: Arc<dyn Clock>,
) -> Result<RunningServer, StartError> {
    let corrected_clock = Arc::new(CorrectedClock::new(machine_clock));
    let clock: Arc<dyn Clock> = Arc::<CorrectedClock>::clone(&corrected_clock);
    let is_embedded = matches!(settings.database.url, DatabaseUrl::Sqlite(_));
    if is_embedded {
        make_data_dir(&settings.data_dir).map_err(StartError::DataDir)?;
    }
    let master_key = MasterKey::load(&settings.master_key, &settings.data_dir, is_embedded)?;
    let metrics = Arc::new(Metrics::default());
    let database = Database::new(&settings.database, metrics.database.clone())?;
    let certificates = settings
        .tls
        .files()
        .map(|files| Certificates::load(files.clone(), metrics.listener.clone()))
        .transpose()?;
    let grpc_listener = listen("IDENTITY_LISTEN", settings.listen.grpc)?;
    let operations_listener = listen("IDENTITY_OPERATIONS_LISTEN", settings.listen.operations)?;
    let grpc_address = address_of(&grpc_listener, settings.listen.grpc);
    let operations_address = address_of(&operations_listener, settings.listen.operations);

    let id_tokens = IdTokens::new(&settings.providers, &clock)?;
    let health = Health::new(grpc::service_names());
    let assembled = Assembly {
        settings: &settings,
        master_key: &master_key,
        database: &database,
        health: &health,
        metrics: &metrics,
        id_tokens: &id_tokens,
        clock: &clock,
    }
    .assemble()
    .ok_or_else(|| StartError::Services("a key cannot be derived".to_owned()))?;
    let routes = Routes::new(
        assembled.services,
        health.clone(),
        settings.limits,
        settings.listen.reflection,
    );
    let service = CallService::new(
        routes,
        settings.limits.max_deadline,
        assembled.authorizer,
        Arc::clone(&clock),
        health.clone(),
        Arc::clone(&metrics),
    );

    let drain_grace = settings.listen.drain_grace;
    let drain_time = settings.listen.drain_time;
    let (end, end_signal) = watch::channel(false);
    let (report_failure, failure) = oneshot::channel();
    let grpc_port = Listener {
        socket: grpc_listener,
        connections: settings.connections,
        limits: settings.limits,
        certificates: certificates.as_ref(),
        drain_time,
        end: end_signal,
        ending: grpc::ending,
        metrics: metrics.listener.clone(),
    };
    let grpc = tokio::spawn(grpc_port.serve(service).boxed());
    let mut background = JoinSet::new();
    background.spawn(async move {
        if let Some(certificates) = certificates {
            certificates.keep_fresh().await;
        }
    });
    let operations = Operations {
        health: health.clone(),
        database: database.clone(),
        hasher: assembled.hasher,
        signing_keys: assembled.upkeep.signing_keys.clone(),
        metrics: Arc::clone(&metrics),
        clock: Arc::clone(&clock),
    };
    background.spawn(http::serve(operations_listener, operations).boxed());
    let its_health = health.clone();
    let work = async move {
        let (upkeep, feed) = (assembled.upkeep, assembled.feed);
        let mut probe = database.probe();
        match prepare(&database, &mut probe, &upkeep, &settings, &corrected_clock).await {
            Ok(()) => its_health.set_started(),
            Err(error) => {
                let _ = report_failure.send(error);
                return;
            }
        }
        let follow = its_health.follow(probe, settings.health, corrected_clock, metrics);
        let keeping_up = upkeep.keep_up(Arc::clone(&clock));
        let following = feed.keep_following();
        // In this order, so that the health does not wait for the upkeep of the start.
        tokio::join!(follow, keeping_up, following);
    };
    background.spawn(work.boxed());
    Ok(RunningServer {
        grpc_address,
        operations_address,
        health,
        drain_grace,
        drain_time,
        end,
        failure,
        grpc,
        background,
    })
}

/// Makes the folder, which nobody else may look into.
fn make_data_dir(path: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

fn listen(variable: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    listener::bind(address).map_err(|error| StartError::Listen {
        variable,
        address,
        error: error.to_string(),
    })
}

fn address_of(listener: &TcpListener, asked: SocketAddr) -> SocketAddr {
    listener.local_addr().unwrap_or(asked)
}

/// Applies the migrations and reads the signing keys, waiting for a database that is not there yet for as long as
/// connecting may take.
async fn prepare(
    database: &Database,
    probe: &mut Probe,
    upkeep: &Upkeep,
    settings: &Settings,
    clock: &CorrectedClock,
) -> Result<(), StartError> {
    /// How soon a database that is starting is asked again.
    const PAUSE: Duration = Duration::from_millis(200);
    let patience_ends = Instant::now() + settings.database.pool.connect_timeout;
    loop {
        let error = match prepare_once(database, probe, upkeep, settings, clock).await {
            Err(error) if error.may_pass() && Instant::now() < patience_ends => error,
            outcome => return outcome,
        };
        tracing::debug!(%error, "waiting for the database");
        tokio::time::sleep(PAUSE).await;
    }
}

async fn prepare_once(
    database: &Database,
    probe: &mut Probe,
    upkeep: &Upkeep,
    settings: &Settings,
    clock: &CorrectedClock,
) -> Result<(), StartError> {
    // Both are asked on the connection of the probe: a server of PostgreSQL has a process for each that is opened, which
    // is most of what a start takes.
    let pending = probe.migration_status().await?.pending.len();
    set_clock(clock, probe, settings.database.pool.connect_timeout).await?;
    if pending > 0 {
        prepare_schema(database, pending, settings, clock).await?;
    }
    let adopted = UserEventRepository::new(database.clone()).adopt().await?;
    if adopted > 0 {
        tracing::info!(adopted, "events of a restored backup can be followed from now on");
    }
    upkeep.prepare_keys(clock.now()).await?;
    if settings.authorization.is_required {
        prepare_service_tokens(database, settings, clock.now()).await?;
    }
    upkeep.service_tokens.reload().await?;
    Ok(())
}

/// Applies the migrations that are pending, if it may.
async fn prepare_schema(
    database: &Database,
    pending: usize,
    settings: &Settings,
    clock: &CorrectedClock,
) -> Result<(), StartError> {
    if !settings.database.migrate {
        return Err(StartError::Pending(pending));
    }
    for migration in database.migrate_up(clock).await? {
        tracing::info!(migration, "migration applied");
    }
    Ok(())
}

/// Sets the clock by that of the database, if it has one.
async fn set_clock(
    clock: &CorrectedClock,
    probe: &mut Probe,
    limit: Duration,
) -> Result<(), DatabaseError> {
    if let Some(time) = probe.time(limit).await? {
        clock.correct(time);
    }
    Ok(())
}

/// Sees to it that somebody can call: on the embedded database with the token of the administrator, elsewhere with what
/// the operator makes.
async fn prepare_service_tokens(
    database: &Database,
    settings: &Settings,
    now: DateTime<Utc>,
) -> Result<(), StartError> {
    let repository = ServiceTokenRepository::new(database.clone());
    if matches!(settings.database.url, DatabaseUrl::Sqlite(_)) {
        if make_admin_token(&repository, &settings.data_dir, now).await? {
            let path = admin_token_path(&settings.data_dir);
            tracing::info!(path = %path.display(), "token of the administrator made");
        }
    } else if settings.authorization.tls_callers.is_empty()
        && repository.list_with_hashes().await?.is_empty()
    {
        tracing::warn!(
            "nobody can call yet: make a token with `identity service-token create NAME --scope SCOPE`"
        );
    }
    Ok(())
}
