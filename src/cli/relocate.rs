//! `identity move`: from the embedded database to PostgreSQL.

use clap::{Arg, ArgMatches, Command};

use super::{CommandError, open_database, output};
use crate::clock::SystemClock;
use crate::config::{DatabaseUrl, Settings};
use crate::database::Database;
use crate::database::relocation::{RelocatedTable, RelocationError};
use crate::telemetry::DatabaseMetrics;

pub(super) fn command() -> Command {
    Command::new("move")
        .about("Copies everything from the SQLite file to an empty PostgreSQL database")
        .long_about(
            "Copies everything from the SQLite file of DATABASE_URL to an empty PostgreSQL database, and reads every table \
             back and compares it before it is done. Stop the servers first: while it runs, nothing can be written to the \
             file, and what is written to it afterwards stays behind.",
        )
        .arg(
            Arg::new("to")
                .long("to")
                .value_name("URL")
                .help("Where to: postgres://…, as in DATABASE_URL")
                .required(true),
        )
}

pub(super) async fn run(settings: &Settings, arguments: &ArgMatches) -> Result<(), CommandError> {
    let url = arguments.get_one::<String>("to").cloned().unwrap_or_default();
    let url =
        DatabaseUrl::parse(&url).map_err(|mistake| CommandError::Failed(format!("--to: {mistake}")))?;
    let source = open_database(settings)?;
    let target_settings = crate::config::DatabaseSettings {
        url,
        replica_url: None,
        ..settings.database.clone()
    };
    let target = Database::new(&target_settings, DatabaseMetrics::default())
        .map_err(|error| CommandError::Failed(format!("--to: {error}")))?;
    let status = source
        .migration_status()
        .await
        .map_err(|error| CommandError::Failed(format!("DATABASE_URL: {error}")))?;
    if !status.pending.is_empty() {
        let text = "DATABASE_URL: run `identity migrate up` first: there are migrations pending";
        return Err(CommandError::Failed(text.to_owned()));
    }
    target
        .migrate_up(&SystemClock)
        .await
        .map_err(|error| CommandError::Failed(format!("--to: {error}")))?;
    let report = |table: &RelocatedTable| {
        output::say(&format!(
            "{:<16} {:>10} rows  {}",
            table.name, table.rows, table.digest
        ));
    };
    source
        .relocate(&target, report)
        .await
        .map_err(|error| failed(&error))?;
    output::say(&format!(
        "\nEverything is there, and the same. Next:\n\
         1. Start the servers with DATABASE_URL set to the new database, and with the same master key:\n   \
         IDENTITY_MASTER_KEY_FILE={} unless it is set otherwise.\n\
         2. Consumers of WatchUsers begin with a snapshot: resume tokens do not move.\n\
         3. Keep {} until you are sure, and then delete it: it holds personal data.",
        settings.data_dir.join("master.key").display(),
        settings.database.url
    ));
    Ok(())
}

fn failed(error: &RelocationError) -> CommandError {
    let variable = match error {
        RelocationError::Source(_) => "DATABASE_URL",
        RelocationError::WrongKind
        | RelocationError::NotEmpty(_)
        | RelocationError::Different(_)
        | RelocationError::Target(_) => "--to",
    };
    CommandError::Failed(format!("{variable}: {error}; nothing was moved"))
}
