//! `identity keys`: the keys that sign access tokens.

use chrono::{DateTime, SecondsFormat, Utc};
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::{CommandError, load_master_key, open_database, output};
use crate::clock::{Clock, SystemClock};
use crate::config::Settings;
use crate::domain::{KeyChange, KeyPlan, SigningKeyRecord};
use crate::repositories::SigningKeyRepository;
use crate::tokens::{SigningKeys, TokenError};

pub(super) fn command() -> Command {
    Command::new("keys")
        .about("Shows and changes the keys that sign access tokens")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(Command::new("list").about("Lists the keys, the oldest first"))
        .subcommand(
            Command::new("rotate").about(
                "Makes a new key, which signs once everybody can know it; the old one stays valid",
            ),
        )
        .subcommand(
            Command::new("revoke")
                .about("Gives a key up at once: nothing it signed is accepted any more")
                .arg(
                    Arg::new("KID")
                        .help("The id of the key, as `keys list` shows it")
                        .required(true)
                        // One id of 64 begins with a hyphen, and some of those with -h.
                        .allow_hyphen_values(true),
                )
                .disable_help_flag(true)
                .arg(
                    Arg::new("help")
                        .long("help")
                        .help("Print help")
                        .action(ArgAction::Help),
                ),
        )
}

pub(super) async fn run(settings: &Settings, arguments: &ArgMatches) -> Result<(), CommandError> {
    let now = SystemClock.now();
    let keys = open_keys(settings)?;
    keys.reload().await.map_err(failed)?;
    match arguments.subcommand() {
        Some(("rotate", _)) => {
            let plan = keys.change(KeyChange::Rotate, now).await.map_err(failed)?;
            report(&plan, now);
        }
        Some(("revoke", inner)) => {
            let kid = inner.get_one::<String>("KID").cloned().unwrap_or_default();
            let plan = keys.change(KeyChange::Revoke(kid), now).await.map_err(failed)?;
            report(&plan, now);
        }
        _ => list(&keys.records(), now),
    }
    Ok(())
}

fn open_keys(settings: &Settings) -> Result<SigningKeys, CommandError> {
    let master_key = load_master_key(settings)?;
    let repository = SigningKeyRepository::new(open_database(settings)?);
    SigningKeys::new(repository, &master_key, settings.tokens.access.lifetime)
        .ok_or_else(|| CommandError::Failed("a key cannot be derived".to_owned()))
}

fn failed(error: TokenError) -> CommandError {
    match error {
        TokenError::Database(error) => CommandError::Failed(format!("DATABASE_URL: {error}")),
        TokenError::WrongMasterKey => CommandError::Failed(format!("IDENTITY_MASTER_KEY: {error}")),
        TokenError::NoActiveKey | TokenError::UnknownKey | TokenError::NoRandomness => {
            CommandError::failed(&error)
        }
    }
}

fn list(keys: &[SigningKeyRecord], now: DateTime<Utc>) {
    if keys.is_empty() {
        output::say("there are no keys; the server makes the first one when it starts");
    }
    for key in keys {
        let retires = key.retires_at.map_or_else(|| "-".to_owned(), time);
        output::say(&format!(
            "{}  {:<8}  signs from {} to {retires}",
            key.kid,
            state(key, now),
            time(key.activates_at),
        ));
    }
}

fn state(key: &SigningKeyRecord, now: DateTime<Utc>) -> &'static str {
    if key.revoked_at.is_some() {
        "revoked"
    } else if key.is_active(now) {
        "active"
    } else if key.activates_at > now {
        "upcoming"
    } else {
        "retired"
    }
}

fn report(plan: &KeyPlan, now: DateTime<Utc>) {
    if *plan == KeyPlan::default() {
        output::say("nothing to do");
    }
    for key in plan.updated.iter().chain(&plan.inserted) {
        match (key.revoked_at, key.retires_at) {
            (Some(_), _) => output::say(&format!("{} is revoked", key.kid)),
            (None, Some(retires_at)) => {
                output::say(&format!("{} signs until {}", key.kid, time(retires_at)));
            }
            (None, None) => {
                let from = time(key.activates_at.max(now));
                output::say(&format!("{} signs from {from}", key.kid));
            }
        }
    }
}

fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}
