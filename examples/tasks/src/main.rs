//! The `identity-tasks` program: serves, or applies and reverts migrations.

use std::env;
use std::process::ExitCode;

use identity_tasks::config::Settings;
use identity_tasks::database::Database;
use identity_tasks::{server, system_clock};
use tokio::signal::unix::{SignalKind, signal};
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The exit status for wrong usage and wrong settings (`EX_USAGE` of sysexits.h).
const USAGE: u8 = 64;

const HELP: &str = "Usage: identity-tasks [serve | migrate up | migrate down [--force]]";

#[tokio::main]
async fn main() -> ExitCode {
    let filter = env::var("TASKS_LOG").ok().and_then(|text| text.parse().ok());
    tracing_subscriber::registry()
        .with(filter.unwrap_or_else(|| Targets::new().with_default(Level::INFO)))
        .with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr))
        .init();
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let settings = match Settings::read(|name| env::var(name).ok()) {
        Ok(settings) => settings,
        Err(mistakes) => {
            for mistake in mistakes {
                tracing::error!("{mistake}");
            }
            return ExitCode::from(USAGE);
        }
    };
    let outcome = match arguments.as_slice() {
        [] | ["serve"] => serve(settings).await,
        ["migrate", "up"] => migrate_up(&settings).await,
        ["migrate", "down"] => migrate_down(&settings, false).await,
        ["migrate", "down", "--force"] => migrate_down(&settings, true).await,
        _ => {
            tracing::error!("{HELP}");
            return ExitCode::from(USAGE);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(settings: Settings) -> Result<(), Box<dyn std::error::Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let running = server::start(settings, system_clock()).await?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    running.shutdown().await;
    Ok(())
}

async fn migrate_up(settings: &Settings) -> Result<(), Box<dyn std::error::Error>> {
    let applied = Database::new(&settings.database)
        .migrate_up(system_clock()())
        .await?;
    if applied.is_empty() {
        tracing::info!("there is nothing to apply");
    }
    for name in applied {
        tracing::info!("applied {name}");
    }
    Ok(())
}

async fn migrate_down(settings: &Settings, force: bool) -> Result<(), Box<dyn std::error::Error>> {
    let reverted = Database::new(&settings.database).migrate_down(force).await?;
    match reverted {
        Some(name) => tracing::info!("reverted {name}"),
        None => tracing::info!("there is nothing to revert"),
    }
    Ok(())
}
