//! `identity serve`: the server.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use super::{CommandError, output};
use crate::clock::SystemClock;
use crate::config::{DatabaseUrl, Settings};
use crate::server::{self, RunningServer};
use crate::tokens::admin_token_path;

pub(super) async fn run(settings: Settings) -> Result<(), CommandError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| CommandError::failed(&error))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| CommandError::failed(&error))?;
    let database = settings.database.url.clone();
    let has_authorization = settings.authorization.is_required;
    let admin_token = admin_token_path(&settings.data_dir);
    if !has_authorization {
        tracing::warn!(
            "IDENTITY_AUTH is off: whoever reaches this machine's loopback address may call everything"
        );
    }
    let mut server = server::start(settings, Arc::new(SystemClock))
        .await
        .map_err(|error| CommandError::failed(&error))?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        %database,
        grpc = %server.grpc_address(),
        operations = %server.operations_address(),
        "listening"
    );
    if std::io::stderr().is_terminal() {
        let token = has_authorization.then_some(admin_token.as_path());
        welcome(&server, &database, token);
    }
    tokio::select! {
        error = server.failed() => return Err(CommandError::failed(&error)),
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("ending: running calls may finish");
    server.shutdown().await;
    tracing::info!("ended");
    Ok(())
}

/// Tells a person at a terminal what to do next.
fn welcome(server: &RunningServer, database: &DatabaseUrl, admin_token: Option<&Path>) {
    let grpc = server.grpc_address();
    let operations = server.operations_address();
    let data = match database {
        DatabaseUrl::Sqlite(path) => {
            let whole = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            format!("{} (embedded SQLite)", whole.display())
        }
        DatabaseUrl::Postgres(url) => url.to_string(),
    };
    let authorization = match (admin_token, database) {
        (None, _) => String::new(),
        (Some(path), DatabaseUrl::Sqlite(_)) => {
            format!("-H \"authorization: Bearer $(cat {})\" ", path.display())
        }
        (Some(_), DatabaseUrl::Postgres(_)) => "-H \"authorization: Bearer $TOKEN\" ".to_owned(),
    };
    for line in [
        String::new(),
        format!("  identity {}", env!("CARGO_PKG_VERSION")),
        format!("  data        {data}"),
        format!("  gRPC        {grpc}"),
        format!("  operations  http://{operations}/health  http://{operations}/metrics"),
        String::new(),
        "  Create a user from another terminal:".to_owned(),
        String::new(),
        format!(
            "    grpcurl -plaintext {authorization}-d '{{\"user\": {{\"email\": \"ada@example.com\"}}}}' \\\n      {grpc} identity.v1.UserService/CreateUser"
        ),
        String::new(),
        "  Stop with Ctrl-C.".to_owned(),
        String::new(),
    ] {
        output::complain(&line);
    }
}
