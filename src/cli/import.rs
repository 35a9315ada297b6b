//! `identity import`: users from a file of JSON Lines.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use clap::{Arg, ArgMatches, Command, value_parser};
use indicatif::{ProgressBar, ProgressStyle};

use super::lines::{Line, Lines, MAX_LINE_BYTES};
use super::user_line::UserLine;
use super::{CommandError, load_master_key, open_database, output, unusable};
use crate::clock::{Clock, SystemClock};
use crate::config::Settings;
use crate::derived_ids::DerivedIds;
use crate::domain::{
    Actor, Command as Change, ImportMistakes, ImportOutcome, ImportUsers, Invalid, Origin, User,
};
use crate::repositories::UserRepository;

/// Users that are stored in one transaction.
const BATCH: usize = 1_000;

pub(super) fn command() -> Command {
    Command::new("import")
        .about("Creates users from a file of JSON Lines, with the hashes of their passwords")
        .long_about(
            "Creates users from a file of JSON Lines: an object a line, with the fields of ImportedUser in the API.\n\n\
             The same command again leaves users alone that are there already, so that an import that was interrupted, or \
             whose errors were put right, is simply repeated.",
        )
        .arg(
            Arg::new("FILE")
                .help("The file")
                .required(true)
                .value_parser(value_parser!(PathBuf)),
        )
        .arg(
            Arg::new("errors")
                .long("errors")
                .value_name("FILE")
                .help("Where lines go that are refused, with the reasons [default: FILE.errors.jsonl]")
                .value_parser(value_parser!(PathBuf)),
        )
}

pub(super) async fn run(settings: &Settings, arguments: &ArgMatches) -> Result<(), CommandError> {
    let path = |name: &str| arguments.get_one::<PathBuf>(name).cloned();
    let source = path("FILE").unwrap_or_default();
    let errors = path("errors").unwrap_or_else(|| {
        let mut name = source.clone().into_os_string();
        name.push(".errors.jsonl");
        name.into()
    });
    let master_key = load_master_key(settings)?;
    let file = File::open(&source).map_err(|error| unusable(&source, &error))?;
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let mut import = Import {
        users: UserRepository::new(open_database(settings)?),
        settings,
        ids: DerivedIds::new(&master_key),
        origin: Origin::beside_calls(Actor::Operator),
        errors: ErrorFile::new(errors),
        progress: ProgressBar::new(length).with_style(style()),
        pending: Vec::new(),
        counts: Counts::default(),
    };
    let outcome = import.read(file, &source).await;
    import.progress.finish_and_clear();
    let Counts {
        created,
        unchanged,
        refused,
    } = import.counts;
    output::say(&format!(
        "{created} users created, {unchanged} were there already, {refused} lines refused"
    ));
    // Also after an import that has failed: what was refused so far is said.
    let written = import.errors.finish();
    if refused > 0 && written.is_ok() {
        output::complain(&format!(
            "the refused lines and the reasons are in {}",
            import.errors.path.display()
        ));
    }
    outcome.and(written)?;
    if refused == 0 {
        Ok(())
    } else {
        Err(CommandError::Reported)
    }
}

fn style() -> ProgressStyle {
    const TEMPLATE: &str = "{bar:40} {bytes}/{total_bytes}, {eta} left, {msg}";
    ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[derive(Default)]
struct Counts {
    created: u64,
    unchanged: u64,
    refused: u64,
}

struct Import<'a> {
    users: UserRepository,
    settings: &'a Settings,
    ids: DerivedIds,
    origin: Origin,
    errors: ErrorFile,
    progress: ProgressBar,
    /// Users that are not stored yet, with their lines.
    pending: Vec<(u64, User)>,
    counts: Counts,
}

impl Import<'_> {
    async fn read(&mut self, file: File, source: &Path) -> Result<(), CommandError> {
        let mut lines = Lines::new(BufReader::new(file));
        let mut number = 0;
        while let Some((line, length)) = lines.next().map_err(|error| unusable(source, &error))? {
            number += 1;
            self.progress.inc(length);
            match line {
                Line::TooLong => {
                    let too_long = Invalid::too_long(MAX_LINE_BYTES, "bytes");
                    self.refuse(number, &vec![("line", too_long)])?;
                }
                Line::Whole(line) if line.trim_ascii().is_empty() => {}
                Line::Whole(line) => self.take(number, line, SystemClock.now())?,
            }
            if self.pending.len() >= BATCH {
                self.store().await?;
            }
        }
        self.store().await
    }

    fn take(&mut self, number: u64, line: &[u8], now: DateTime<Utc>) -> Result<(), CommandError> {
        let read: UserLine = match serde_json::from_slice(line) {
            Ok(read) => read,
            Err(error) => return self.refuse(number, &not_json(&error)),
        };
        let ids = self.ids.clone();
        let (email, username) = (read.email.to_lowercase(), read.username.to_lowercase());
        let generate = || ids.user_id(&["import", &email, &username]);
        match read
            .into_record(now)
            .into_user(&self.settings.profile.required, generate, now)
        {
            Ok(user) => {
                self.pending.push((number, user));
                Ok(())
            }
            Err(mistakes) => self.refuse(number, &mistakes),
        }
    }

    fn refuse(&mut self, number: u64, mistakes: &ImportMistakes) -> Result<(), CommandError> {
        self.counts.refused += 1;
        self.errors.write(number, mistakes)
    }

    async fn store(&mut self) -> Result<(), CommandError> {
        let (numbers, users): (Vec<u64>, Vec<User>) = self.pending.drain(..).unzip();
        let import = Change::new(ImportUsers { users }, self.origin.clone());
        let outcomes = self.users.import(import).await.map_err(|error| {
            CommandError::Failed(format!(
                "DATABASE_URL: {error}; run the command again to go on where it stopped"
            ))
        })?;
        for (number, outcome) in numbers.into_iter().zip(outcomes) {
            let field = match outcome {
                ImportOutcome::Created => {
                    self.counts.created += 1;
                    continue;
                }
                ImportOutcome::Unchanged => {
                    self.counts.unchanged += 1;
                    continue;
                }
                ImportOutcome::EmailTaken => "email",
                ImportOutcome::UsernameTaken => "username",
                ImportOutcome::UserIdTaken => "user_id",
            };
            self.counts.refused += 1;
            self.errors.write_taken(number, field)?;
        }
        self.progress
            .set_message(format!("{} users", self.counts.created));
        Ok(())
    }
}

/// Tells where a line is no user, without quoting it.
fn not_json(error: &serde_json::Error) -> ImportMistakes {
    let text = if error.is_data() {
        "must be an object with the fields of ImportedUser only"
    } else {
        "must be JSON"
    };
    vec![(
        "line",
        Invalid::format(format!("{text} (column {})", error.column())),
    )]
}

/// The file for what was refused; made when there is something.
struct ErrorFile {
    path: PathBuf,
    open: Option<BufWriter<File>>,
}

impl ErrorFile {
    const fn new(path: PathBuf) -> Self {
        Self { path, open: None }
    }

    fn write(&mut self, line: u64, mistakes: &ImportMistakes) -> Result<(), CommandError> {
        let violations: Vec<_> = mistakes
            .iter()
            .map(|(field, invalid)| {
                serde_json::json!({ "field": field, "description": invalid.description })
            })
            .collect();
        self.append(&serde_json::json!({ "line": line, "violations": violations }))
    }

    fn write_taken(&mut self, line: u64, field: &str) -> Result<(), CommandError> {
        let violation = serde_json::json!({ "field": field, "description": "another user has it" });
        self.append(&serde_json::json!({ "line": line, "violations": [violation] }))
    }

    fn append(&mut self, entry: &serde_json::Value) -> Result<(), CommandError> {
        let file = match self.open.take() {
            Some(file) => file,
            None => {
                BufWriter::new(File::create(&self.path).map_err(|error| unusable(&self.path, &error))?)
            }
        };
        let file = self.open.insert(file);
        writeln!(file, "{entry}").map_err(|error| unusable(&self.path, &error))
    }

    fn finish(&mut self) -> Result<(), CommandError> {
        let Some(file) = &mut self.open else {
            return Ok(());
        };
        file.flush().map_err(|error| unusable(&self.path, &error))
    }
}
