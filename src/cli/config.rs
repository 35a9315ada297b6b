//! `identity config`: the effective settings, secrets redacted.

use super::{CommandError, output};
use crate::config::{Settings, Sources};

pub(super) fn run(settings: &Settings, sources: &Sources) -> Result<(), CommandError> {
    for variable in Settings::variables() {
        let given = sources.get(variable);
        let value = match (variable.name, given) {
            // Addresses are worth seeing; their passwords are not shown.
            ("DATABASE_URL", _) => settings.database.url.to_string(),
            ("DATABASE_REPLICA_URL", Some(_)) => settings
                .database
                .replica_url
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            (_, Some(_)) if variable.is_secret => "[redacted]".to_owned(),
            (_, Some(value)) => value.to_owned(),
            (_, None) => variable.default.to_owned(),
        };
        output::say(&format!("{}={value}", variable.name));
    }
    Ok(())
}
