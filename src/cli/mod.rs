//! The command line: one file per subcommand.

mod config;
mod export;
mod healthcheck;
mod import;
mod keys;
mod lines;
mod migrate;
mod output;
mod purge;
mod relocate;
mod serve;
mod service_token;
mod user_line;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};
use futures_util::FutureExt;

use crate::config::{ConfigError, DatabaseUrl, Settings, Sources};
use crate::database::Database;
use crate::master_key::MasterKey;
use crate::telemetry::{DatabaseMetrics, init_log};

/// The exit status for a wrong command line or wrong settings (`EX_USAGE` of sysexits.h).
const EXIT_USAGE: u8 = 64;

/// Why a command did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error("{0}")]
    Config(#[from] ConfigError),
    #[error("{0}")]
    Failed(String),
    /// The command has said already what is wrong.
    #[error("")]
    Reported,
}

impl CommandError {
    fn failed(error: &impl ToString) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let matches = match command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::from(EXIT_USAGE)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match run(&matches) {
        Ok(()) => ExitCode::SUCCESS,
        Err(CommandError::Config(error)) => {
            output::complain("the settings are wrong:");
            for mistake in error.0 {
                output::complain(&format!("  {mistake}"));
            }
            output::complain("`identity --help` lists the settings.");
            ExitCode::from(EXIT_USAGE)
        }
        Err(CommandError::Failed(text)) => {
            output::complain(&format!("error: {text}"));
            ExitCode::FAILURE
        }
        Err(CommandError::Reported) => ExitCode::FAILURE,
    }
}

fn run(matches: &ArgMatches) -> Result<(), CommandError> {
    let (name, arguments) = matches.subcommand().unwrap_or(("serve", matches));
    let sources = Sources::from_process(flags(arguments));
    let settings = Settings::read(&sources)?;
    let _log = init_log(&settings.log);
    for variable in sources.unknown(&Settings::variables()) {
        tracing::warn!(variable, "unknown variable; is it misspelt?");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CommandError::failed(&error))?;
    let work = async {
        match name {
            "migrate" => migrate::run(settings, arguments).await,
            "config" => config::run(&settings, &sources),
            "healthcheck" => healthcheck::run(&settings).await,
            "keys" => keys::run(&settings, arguments).await,
            "import" => import::run(&settings, arguments).await,
            "move" => relocate::run(&settings, arguments).await,
            "export" => export::run(&settings, arguments).await,
            "service-token" => service_token::run(&settings, arguments).await,
            "purge" => purge::run(settings).await,
            _ => serve::run(settings).await,
        }
    };
    // In a box: a runtime compiles what it runs for each of its flavours.
    let outcome = runtime.block_on(work.boxed_local());
    // A database call that is still under way is not waited for.
    runtime.shutdown_background();
    outcome
}

/// Returns the settings that were given as flags, by the names of their variables.
fn flags(matches: &ArgMatches) -> BTreeMap<String, String> {
    let mut flags: BTreeMap<String, String> = Settings::variables()
        .into_iter()
        .filter_map(|variable| {
            let value = matches.try_get_one::<String>(variable.name).ok()??;
            Some((variable.name.to_owned(), value.clone()))
        })
        .collect();
    if let Some((_, inner)) = matches.subcommand() {
        flags.extend(self::flags(inner));
    }
    flags
}

fn command() -> Command {
    let mut command = Command::new("identity")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A headless identity service that speaks gRPC")
        .long_about(
            "A headless identity service that speaks gRPC.\n\nWithout a command it serves. Settings come from \
             flags, the environment and .env, in that order.",
        )
        .disable_help_subcommand(true)
        .subcommand(Command::new("serve").about("Applies pending migrations and serves (the default)"))
        .subcommand(migrate::command())
        .subcommand(service_token::command())
        .subcommand(import::command())
        .subcommand(export::command())
        .subcommand(relocate::command())
        .subcommand(keys::command())
        .subcommand(Command::new("config").about("Prints the effective settings, secrets redacted"))
        .subcommand(
            Command::new("healthcheck").about("Asks a running server whether it is serving; for containers"),
        )
        .subcommand(Command::new("purge").about("Removes what has expired"));
    for variable in Settings::variables() {
        let default = if variable.default.is_empty() {
            String::new()
        } else {
            format!(" [default: {}]", variable.default)
        };
        command = command.arg(
            Arg::new(variable.name)
                .long(variable.flag())
                .value_name("VALUE")
                .help(format!("{}{default} [env: {}]", variable.help, variable.name))
                .action(ArgAction::Set)
                .global(true)
                .help_heading("Settings"),
        );
    }
    command
}

/// Opens the database of a command that is not the server.
fn open_database(settings: &Settings) -> Result<Database, CommandError> {
    Database::new(&settings.database, DatabaseMetrics::default())
        .map_err(|error| CommandError::Failed(format!("DATABASE_URL: {error}")))
}

/// Reads the master key, as the server does.
fn load_master_key(settings: &Settings) -> Result<MasterKey, CommandError> {
    let is_embedded = matches!(settings.database.url, DatabaseUrl::Sqlite(_));
    MasterKey::load(&settings.master_key, &settings.data_dir, is_embedded)
        .map_err(|error| CommandError::failed(&error))
}

/// A file that cannot be opened, read or written.
fn unusable(path: &Path, error: &std::io::Error) -> CommandError {
    CommandError::Failed(format!("{}: {error}", path.display()))
}
