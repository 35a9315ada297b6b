//! Variables, where their values come from, and the collection of mistakes.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use chrono::TimeDelta;

/// A setting: an environment variable, a line of `.env`, and a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variable {
    /// The name in the environment.
    pub name: &'static str,
    /// The value when it is not set, in the syntax of the variable; empty for none.
    pub default: &'static str,
    /// What it does, in a line.
    pub help: &'static str,
    /// Whether its value is a secret.
    pub is_secret: bool,
}

impl Variable {
    /// Declares a variable.
    #[must_use]
    pub const fn new(name: &'static str, default: &'static str, help: &'static str) -> Self {
        Self {
            name,
            default,
            help,
            is_secret: false,
        }
    }

    /// Declares a variable whose value is a secret.
    #[must_use]
    pub const fn secret(name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            default: "",
            help,
            is_secret: true,
        }
    }

    /// Returns the name of the flag that sets it, without dashes: `IDENTITY_LISTEN` is `listen`.
    #[must_use]
    pub fn flag(&self) -> String {
        let name = self.name.strip_prefix(PREFIX).unwrap_or(self.name);
        name.to_ascii_lowercase().replace('_', "-")
    }
}

/// What the names of our own variables begin with.
const PREFIX: &str = "IDENTITY_";

/// Where values come from. An empty value counts as none.
#[derive(Clone, Default)]
pub struct Sources {
    flags: BTreeMap<String, String>,
    environment: BTreeMap<String, String>,
    dotenv: BTreeMap<String, String>,
    mistakes: Vec<String>,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}

impl Sources {
    /// Takes the environment of the process, `.env` in the present folder, and flags by the names of their
    /// variables.
    #[must_use]
    pub fn from_process(flags: BTreeMap<String, String>) -> Self {
        let mut mistakes = Vec::new();
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| {
                let name = name.into_string().ok()?;
                match value.into_string() {
                    Ok(value) => Some((name, value)),
                    Err(_) if Self::is_ours(&name) => {
                        mistakes.push(format!("{name}: must be UTF-8"));
                        None
                    }
                    Err(_) => None,
                }
            })
            .collect();
        let dotenv = read_dotenv(Path::new(".env")).unwrap_or_else(|mistake| {
            mistakes.push(mistake);
            BTreeMap::new()
        });
        Self {
            flags,
            environment,
            dotenv,
            mistakes,
        }
    }

    /// Takes variables from a list, as if they were the environment.
    #[must_use]
    pub fn from_pairs(pairs: &[(&str, &str)]) -> Self {
        Self {
            environment: pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            ..Self::default()
        }
    }

    /// Returns the value of a variable, if it is set.
    #[must_use]
    pub fn get(&self, variable: &Variable) -> Option<&str> {
        [&self.flags, &self.environment, &self.dotenv]
            .into_iter()
            .filter_map(|source| source.get(variable.name))
            .map(String::as_str)
            .find(|value| !value.is_empty())
    }

    /// Returns the names that begin like ours and are none of `known`: most likely misspelt.
    #[must_use]
    pub fn unknown(&self, known: &[&Variable]) -> Vec<String> {
        let mut names: Vec<String> = self
            .environment
            .keys()
            .chain(self.dotenv.keys())
            .filter(|name| name.starts_with(PREFIX))
            .filter(|name| !known.iter().any(|variable| variable.name == *name))
            .cloned()
            .collect();
        names.sort();
        names.dedup();
        names
    }

    fn is_ours(name: &str) -> bool {
        name.starts_with(PREFIX) || name.starts_with("DATABASE_")
    }
}

fn read_dotenv(path: &Path) -> Result<BTreeMap<String, String>, String> {
    let lines = match dotenvy::from_path_iter(path) {
        Ok(lines) => lines,
        Err(error) if error.not_found() => return Ok(BTreeMap::new()),
        Err(_) => return Err(".env: cannot be read".to_owned()),
    };
    // The parser's own error quotes the line, which may hold a secret.
    lines
        .enumerate()
        .map(|(index, line)| line.map_err(|_| format!(".env: entry {} cannot be parsed", index + 1)))
        .collect()
}

/// Converts a time span that was read from a bounded range.
pub(super) fn to_span(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

/// Everything that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigError(pub Vec<String>);

/// Reads variables and collects what is wrong with them.
pub(super) struct Reader<'a> {
    sources: &'a Sources,
    mistakes: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(sources: &'a Sources) -> Self {
        Self {
            sources,
            mistakes: sources.mistakes.clone(),
        }
    }

    /// Parses a variable or its default. A mistake is noted and `None` returned.
    pub(super) fn parse<T>(
        &mut self,
        variable: &Variable,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.sources.get(variable).unwrap_or(variable.default);
        match parse(text) {
            Ok(value) => Some(value),
            Err(mistake) => {
                self.note(variable, &mistake);
                None
            }
        }
    }

    /// Parses a variable that may be unset. A mistake is noted and `None` returned.
    pub(super) fn parse_optional<T>(
        &mut self,
        variable: &Variable,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<Option<T>> {
        match self.sources.get(variable) {
            None => Some(None),
            Some(_) => self.parse(variable, parse).map(Some),
        }
    }

    /// Parses a number from `range`.
    pub(super) fn number<T>(
        &mut self,
        variable: &Variable,
        range: std::ops::RangeInclusive<T>,
    ) -> Option<T>
    where
        T: FromStr + PartialOrd + fmt::Display,
    {
        self.parse(variable, |text| {
            text.parse()
                .ok()
                .filter(|value| range.contains(value))
                .ok_or_else(|| format!("must be a number from {} to {}", range.start(), range.end()))
        })
    }

    /// Parses a time span from `range`, such as `500ms`, `2s`, `10m` or `1h`.
    pub(super) fn duration(
        &mut self,
        variable: &Variable,
        range: std::ops::RangeInclusive<Duration>,
    ) -> Option<Duration> {
        self.parse(variable, |text| {
            humantime::parse_duration(text)
                .ok()
                .filter(|value| range.contains(value))
                .ok_or_else(|| {
                    format!(
                        "must be a time span from {} to {}, such as 500ms, 2s or 1h",
                        humantime::format_duration(*range.start()),
                        humantime::format_duration(*range.end()),
                    )
                })
        })
    }

    /// Parses `on` or `off`.
    pub(super) fn switch(&mut self, variable: &Variable) -> Option<bool> {
        self.parse(variable, |text| match text {
            "on" | "true" => Ok(true),
            "off" | "false" => Ok(false),
            _ => Err("must be on or off".to_owned()),
        })
    }

    /// Notes a mistake in a variable.
    pub(super) fn note(&mut self, variable: &Variable, mistake: &str) {
        self.mistakes.push(format!("{}: {mistake}", variable.name));
    }

    /// Returns the settings if nothing was wrong.
    pub(super) fn finish<T>(self, settings: Option<T>) -> Result<T, ConfigError> {
        match settings {
            Some(settings) if self.mistakes.is_empty() => Ok(settings),
            _ => Err(ConfigError(self.mistakes)),
        }
    }
}
