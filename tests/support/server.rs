//! A server in the process of the test.

use std::ops::Deref;
use std::sync::Arc;

use identity::clock::{Clock, ShiftedClock};
use identity::config::Settings;
use identity::server::{self, RunningServer, StartError};

use super::Clients;

/// A server in this process. It derefs to its [`Clients`].
pub struct TestServer {
    /// The time as the server sees it; shared by all servers of a test.
    pub clock: Arc<ShiftedClock>,
    server: RunningServer,
    clients: Clients,
}

impl TestServer {
    pub(super) async fn launch(
        settings: Settings,
        clock: Arc<ShiftedClock>,
    ) -> Result<Self, StartError> {
        let server_clock: Arc<dyn Clock> = Arc::<ShiftedClock>::clone(&clock);
        let server = server::start(settings, server_clock).await?;
        let clients = Clients::new(server.grpc_address(), server.operations_address());
        Ok(Self {
            clock,
            server,
            clients,
        })
    }

    /// Waits until the server finds that it cannot start after all.
    pub async fn failed(&mut self) -> StartError {
        self.server.failed().await
    }

    /// Lets running calls finish and stops the server.
    pub async fn shutdown(self) {
        self.server.shutdown().await;
    }
}

impl Deref for TestServer {
    type Target = Clients;

    fn deref(&self) -> &Clients {
        &self.clients
    }
}
