//! `identity export`: all users as a file of JSON Lines.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use indicatif::ProgressBar;

use super::user_line::UserLine;
use super::{CommandError, open_database, output, unusable};
use crate::config::Settings;
use crate::domain::{ListPosition, ListUsers, UserFilter, UserOrder};
use crate::repositories::UserRepository;

/// Users that are read at once.
const PAGE: i64 = 1_000;

pub(super) fn command() -> Command {
    Command::new("export")
        .about("Writes all users to a new file of JSON Lines, which `identity import` reads")
        .arg(
            Arg::new("FILE")
                .help("The file, which must not exist; only its owner can read it")
                .required(true)
                .value_parser(value_parser!(PathBuf)),
        )
        .arg(
            Arg::new("with-password-hashes")
                .long("with-password-hashes")
                .help("Also writes the hashes of passwords, which can be guessed from them")
                .action(ArgAction::SetTrue),
        )
}

pub(super) async fn run(settings: &Settings, arguments: &ArgMatches) -> Result<(), CommandError> {
    let path = arguments.get_one::<PathBuf>("FILE").cloned().unwrap_or_default();
    let with_hashes = arguments.get_flag("with-password-hashes");
    let users = UserRepository::new(open_database(settings)?);
    let file = create(&path).map_err(|error| unusable(&path, &error))?;
    let progress = ProgressBar::new_spinner();
    let mut file = BufWriter::new(file);
    let mut after: Option<ListPosition> = None;
    let mut count: u64 = 0;
    loop {
        let list = ListUsers {
            filter: UserFilter::default(),
            order: UserOrder::CreatedAt,
            after,
            limit: PAGE,
        };
        let page = users
            .list(list)
            .await
            .map_err(|error| CommandError::Failed(format!("DATABASE_URL: {error}")))?;
        let Some(last) = page.last() else {
            break;
        };
        after = Some(last.position());
        for user in &page {
            let line = serde_json::to_string(&UserLine::of(user, with_hashes))
                .map_err(|error| CommandError::failed(&error))?;
            writeln!(file, "{line}").map_err(|error| unusable(&path, &error))?;
            count += 1;
        }
        progress.set_message(format!("{count} users"));
        progress.tick();
    }
    file.flush().map_err(|error| unusable(&path, &error))?;
    progress.finish_and_clear();
    output::say(&format!("{count} users written"));
    Ok(())
}

/// Makes a file that only its owner can read.
fn create(path: &Path) -> std::io::Result<File> {
    const OWNER_ONLY: u32 = 0o600;
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(OWNER_ONLY)
        .open(path)
}
