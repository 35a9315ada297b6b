//! `identity migrate`: the schema of the database.

use chrono::SecondsFormat;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::{CommandError, open_database, output};
use crate::clock::SystemClock;
use crate::config::Settings;
use crate::database::Database;
use crate::database::migrations::MigrationError;
use crate::database::verify::Finding;

pub(super) fn command() -> Command {
    Command::new("migrate")
        .about("Changes and inspects the schema of the database")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(Command::new("up").about("Applies every pending migration"))
        .subcommand(
            Command::new("down")
                .about("Reverts the latest migrations, newest first")
                .arg(
                    Arg::new("steps")
                        .long("steps")
                        .value_name("N")
                        .help("How many")
                        .default_value("1")
                        .value_parser(value_parser!(usize)),
                )
                .arg(
                    Arg::new("force")
                        .long("force")
                        .help("Also if rows are lost")
                        .action(ArgAction::SetTrue),
                ),
        )
        .subcommand(Command::new("status").about("Shows the present version and what is pending"))
        .subcommand(Command::new("history").about("Lists all migrations and when they were applied"))
        .subcommand(
            Command::new("verify")
                .about("Holds the live schema against what it should be, object by object"),
        )
}

pub(super) async fn run(settings: Settings, arguments: &ArgMatches) -> Result<(), CommandError> {
    let database = open_database(&settings)?;
    let failed = |error: MigrationError| CommandError::Failed(format!("DATABASE_URL: {error}"));
    match arguments.subcommand() {
        Some(("up", _)) => up(&database).await.map_err(failed),
        Some(("down", arguments)) => {
            let steps = arguments.get_one::<usize>("steps").copied().unwrap_or(1);
            down(&database, steps, arguments.get_flag("force"))
                .await
                .map_err(failed)
        }
        Some(("history", _)) => history(&database).await.map_err(failed),
        Some(("verify", _)) => verify(&database).await,
        _ => status(&database).await.map_err(failed),
    }
}

async fn up(database: &Database) -> Result<(), MigrationError> {
    let applied = database.migrate_up(&SystemClock).await?;
    if applied.is_empty() {
        output::say("nothing to apply: the database is up to date");
    }
    for name in applied {
        output::say(&format!("applied {name}"));
    }
    Ok(())
}

async fn down(database: &Database, steps: usize, force: bool) -> Result<(), MigrationError> {
    let reverted = database.migrate_down(steps, force).await?;
    if reverted.is_empty() && steps > 0 {
        output::say("nothing to revert: the database has no migration");
    } else if reverted.is_empty() {
        output::say("nothing to revert: no step was asked for");
    }
    for name in reverted {
        output::say(&format!("reverted {name}"));
    }
    Ok(())
}

async fn status(database: &Database) -> Result<(), MigrationError> {
    let status = database.migration_status().await?;
    let version = status
        .applied
        .last()
        .map_or("none", |migration| migration.name.as_str());
    output::say(&format!("version: {version}"));
    output::say(&format!("applied: {}", status.applied.len()));
    output::say(&format!("pending: {}", status.pending.len()));
    for name in status.pending {
        output::say(&format!("  {name}"));
    }
    Ok(())
}

async fn history(database: &Database) -> Result<(), MigrationError> {
    let status = database.migration_status().await?;
    for migration in status.applied {
        let applied_at = migration.applied_at.to_rfc3339_opts(SecondsFormat::Secs, true);
        output::say(&format!("{applied_at}  {}", migration.name));
    }
    for name in status.pending {
        output::say(&format!("pending               {name}"));
    }
    Ok(())
}

async fn verify(database: &Database) -> Result<(), CommandError> {
    let findings = database
        .verify_schema()
        .await
        .map_err(|error| CommandError::failed(&error))?;
    let mut missing = 0_usize;
    for finding in findings {
        match finding {
            Finding::Found(line) => output::say(&format!("found       {line}")),
            Finding::Unexpected(line) => output::say(&format!("unexpected  {line}")),
            Finding::Missing(line) => {
                missing += 1;
                output::say(&format!("MISSING     {line}"));
            }
        }
    }
    if missing == 0 {
        output::say("the schema is as it should be");
        Ok(())
    } else {
        output::complain(&format!("error: {missing} objects are missing or different"));
        Err(CommandError::Reported)
    }
}
