//! Puts the service together, runs it, and ends it.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::Clock;
use crate::config::{ServiceToken, Settings};
use crate::database::{Database, MigrationError};
use crate::departed_users::DepartedUsers;
use crate::grpc::{Callers, TaskServiceImpl};
use crate::proto::DESCRIPTOR_SET;
use crate::proto::identity::v1::user_service_client::UserServiceClient;
use crate::proto::tasks::v1::task_service_server::TaskServiceServer;
use crate::signing_keys::SigningKeys;

/// How long running calls may take to finish at the end. Idle connections would otherwise hold it up without end: tonic
/// waits for their clients.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The migrations do not fit or failed.
    #[error("TASKS_DATABASE_URL: {0}")]
    Migration(#[from] MigrationError),
    /// The address cannot be listened on.
    #[error("TASKS_LISTEN: cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        error: std::io::Error,
    },
    /// The descriptors cannot be served: a fault of this program.
    #[error("reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// A server that runs.
#[derive(Debug)]
pub struct RunningServer {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), tonic::transport::Error>>,
    following: Option<JoinHandle<()>>,
}

/// Applies pending migrations, listens, and serves in the background. The identity service need not be there yet.
///
/// # Errors
///
/// Why the server did not start.
pub async fn start(settings: Settings, clock: Clock) -> Result<RunningServer, StartError> {
    let database = Database::new(&settings.database);
    for migration in database.migrate_up(clock()).await? {
        tracing::info!(migration, "applied a migration");
    }
    let listener = TcpListener::bind(settings.listen)
        .await
        .map_err(|error| StartError::Listen {
            address: settings.listen,
            error,
        })?;
    let address = listener.local_addr().map_err(|error| StartError::Listen {
        address: settings.listen,
        error,
    })?;

    /// A connection that was lost without a word is noticed by a ping that nobody answers.
    const KEEP_ALIVE: Duration = Duration::from_secs(30);
    let identity = settings
        .identity
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .connect_lazy();
    let following = (!database.is_shared()).then(|| {
        let departed_users = DepartedUsers {
            database: database.clone(),
            users: UserServiceClient::new(identity.clone()),
            authorization: settings
                .identity_token
                .as_ref()
                .and_then(ServiceToken::authorization),
            clock: Clock::clone(&clock),
        };
        tokio::spawn(departed_users.follow_forever())
    });
    let service = TaskServiceImpl {
        database: database.clone(),
        callers: Callers {
            keys: SigningKeys::new(identity.clone(), Clock::clone(&clock)),
            policy: settings.tokens,
            clock: Clock::clone(&clock),
        },
        clock,
    };
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTOR_SET)
        .build_v1()?;
    let (health_reporter, health) = tonic_health::server::health_reporter();
    health_reporter
        .set_serving::<TaskServiceServer<TaskServiceImpl>>()
        .await;

    let (stop, stopped) = oneshot::channel();
    let serving = Server::builder()
        .add_service(health)
        .add_service(reflection)
        .add_service(TaskServiceServer::new(service))
        .serve_with_incoming_shutdown(TcpIncoming::from(listener), async {
            // Also when the sender is gone: nobody is left to run for.
            let _ = stopped.await;
        });
    tracing::info!(%address, "serving");
    Ok(RunningServer {
        address,
        stop,
        serving: tokio::spawn(serving),
        following,
    })
}

impl RunningServer {
    /// Returns where calls are taken.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets running calls finish and stops the server.
    pub async fn shutdown(self) {
        if let Some(following) = self.following {
            // Between two statements, too: a transaction that is not committed is none.
            following.abort();
            let _ = following.await;
        }
        // Fails only if the server has ended already.
        let _ = self.stop.send(());
        let mut serving = self.serving;
        match tokio::time::timeout(DRAIN_LIMIT, &mut serving).await {
            Ok(Ok(Err(error))) => tracing::error!(%error, "the server ended with an error"),
            Ok(Ok(Ok(())) | Err(_)) => {}
            Err(_) => serving.abort(),
        }
    }
}
