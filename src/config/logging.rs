//! The log: `IDENTITY_LOG`, `IDENTITY_LOG_FORMAT`.

use tracing_subscriber::filter::Targets;

use super::variable::{Reader, Variable};

const LOG: Variable = Variable::new(
    "IDENTITY_LOG",
    "info",
    "What is logged: error, warn, info, debug or trace, also per module (identity=debug,info)",
);
const LOG_FORMAT: Variable = Variable::new(
    "IDENTITY_LOG_FORMAT",
    "auto",
    "text, json, or auto: text on a terminal and JSON elsewhere",
);

pub(super) const VARIABLES: &[Variable] = &[LOG, LOG_FORMAT];

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct LogSettings {
    /// Which events are logged.
    pub filter: Targets,
    /// How an event is written.
    pub format: LogFormat,
}

/// How an event is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// As text on a terminal, as JSON elsewhere.
    Auto,
    /// For people.
    Text,
    /// For programs: a JSON object on a line.
    Json,
}

impl LogSettings {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let filter = reader.parse(&LOG, |text| {
            text.parse::<Targets>()
                .map_err(|_| "must be a level or a list of module=level".to_owned())
        });
        let format = reader.parse(&LOG_FORMAT, |text| match text {
            "auto" => Ok(LogFormat::Auto),
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err("must be auto, text or json".to_owned()),
        });
        Some(Self {
            filter: filter?,
            format: format?,
        })
    }
}
