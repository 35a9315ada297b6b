//! `identity service-token`: the tokens with which services call.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::{CommandError, open_database, output};
use crate::clock::{Clock, SystemClock};
use crate::config::Settings;
use crate::database::DatabaseError;
use crate::domain::{Invalid, Scope, Scopes, ServiceName, ServiceToken, ServiceTokenId};
use crate::repositories::ServiceTokenRepository;
use crate::tokens::ServiceTokens;

/// What is said in place of a life time that does not end.
const NEVER: &str = "never";

/// Long enough that nobody renews tokens every week, short enough that a forgotten one is not good for ever.
const DEFAULT_LIFETIME: &str = "365d";

pub(super) fn command() -> Command {
    let scopes = Scope::ALL.map(Scope::as_str).join(", ");
    Command::new("service-token")
        .about("Makes, shows and revokes the tokens with which services call")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("create")
                .about("Makes a token and prints it, this once")
                .arg(
                    Arg::new("NAME")
                        .help("The service: letters, digits, dots, hyphens and underscores; its changes are on record under it")
                        .required(true),
                )
                .arg(
                    Arg::new("scope")
                        .long("scope")
                        .value_name("SCOPE")
                        .help(format!("What the service may call; repeat it for more. One of {scopes}"))
                        .action(ArgAction::Append)
                        .required(true),
                )
                .arg(
                    Arg::new("expires-in")
                        .long("expires-in")
                        .value_name("TIME")
                        .help(format!("How long the token is good, such as 90d, or {NEVER}"))
                        .default_value(DEFAULT_LIFETIME),
                ),
        )
        .subcommand(Command::new("list").about("Lists the tokens, the oldest first; not their texts, which nobody has"))
        .subcommand(
            Command::new("revoke")
                .about("Gives a token up: servers refuse it within seconds")
                .arg(
                    Arg::new("ID")
                        .help("The id of the token, as `service-token list` shows it")
                        .required(true),
                ),
        )
}

pub(super) async fn run(settings: &Settings, arguments: &ArgMatches) -> Result<(), CommandError> {
    let now = SystemClock.now();
    let tokens = || Ok(ServiceTokenRepository::new(open_database(settings)?));
    match arguments.subcommand() {
        Some(("create", inner)) => create(inner, tokens, now).await,
        Some(("revoke", inner)) => {
            let id = inner.get_one::<String>("ID").cloned().unwrap_or_default();
            let id = ServiceTokenId::parse(&id).map_err(|invalid| wrong("ID", &invalid))?;
            let revoked = tokens()?.revoke(id, now).await.map_err(failed)?;
            let token = revoked.ok_or_else(|| {
                CommandError::Failed("there is no service token with this id".to_owned())
            })?;
            output::say(&format!("{} of {} is revoked", token.id, token.name.as_str()));
            Ok(())
        }
        _ => {
            list(&tokens()?.list_with_hashes().await.map_err(failed)?, now);
            Ok(())
        }
    }
}

async fn create(
    arguments: &ArgMatches,
    tokens: impl Fn() -> Result<ServiceTokenRepository, CommandError>,
    now: DateTime<Utc>,
) -> Result<(), CommandError> {
    let text = |name| arguments.get_one::<String>(name).cloned().unwrap_or_default();
    let name = ServiceName::parse(&text("NAME")).map_err(|invalid| wrong("NAME", &invalid))?;
    let scopes = arguments
        .get_many::<String>("scope")
        .unwrap_or_default()
        .map(|scope| Scope::parse(scope))
        .collect::<Result<Scopes, _>>()
        .map_err(|invalid| wrong("--scope", &invalid))?;
    let expires_at = expiry(&text("expires-in"), now).ok_or_else(|| {
        CommandError::Failed(format!("--expires-in: must be a time such as 90d, or {NEVER}"))
    })?;
    let (secret, new) = ServiceTokens::issue(name, scopes, expires_at, now)
        .map_err(|error| CommandError::failed(&error))?;
    tokens()?.create(new).await.map_err(failed)?;
    output::say(secret.reveal());
    Ok(())
}

/// Returns when a token expires that lives for a while: `Some(None)` if never, `None` if the text says nothing.
fn expiry(text: &str, now: DateTime<Utc>) -> Option<Option<DateTime<Utc>>> {
    /// A token that is good for no time is none.
    const SHORTEST: Duration = Duration::from_secs(1);
    if text == NEVER {
        return Some(None);
    }
    let lifetime = humantime::parse_duration(text).ok()?;
    if lifetime < SHORTEST {
        return None;
    }
    let expires_at = now.checked_add_signed(TimeDelta::from_std(lifetime).ok()?)?;
    Some(Some(expires_at))
}

fn list(tokens: &[([u8; 32], ServiceToken)], now: DateTime<Utc>) {
    if tokens.is_empty() {
        output::say("there are no service tokens");
    }
    for (_, token) in tokens {
        let last_used = token.last_used_at.map_or_else(|| NEVER.to_owned(), time);
        let expires = token.expires_at.map_or_else(|| NEVER.to_owned(), time);
        output::say(&format!(
            "{}  {:<7}  {}  expires {expires}  last used {last_used}  {}",
            token.id,
            state(token, now),
            token.name.as_str(),
            token.scopes,
        ));
    }
}

fn state(token: &ServiceToken, now: DateTime<Utc>) -> &'static str {
    if token.revoked_at.is_some() {
        "revoked"
    } else if token.has_expired(now) {
        "expired"
    } else {
        "active"
    }
}

fn wrong(argument: &str, invalid: &Invalid) -> CommandError {
    CommandError::Failed(format!("{argument}: {}", invalid.description))
}

#[expect(clippy::needless_pass_by_value, reason = "the form that map_err asks for")]
fn failed(error: DatabaseError) -> CommandError {
    CommandError::Failed(format!("DATABASE_URL: {error}"))
}

fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}
