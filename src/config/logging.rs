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
        let filter = reader.parse(&LOG, parse_filter);
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

/// Parses a level, or levels of modules. Blanks around them and empty ones mean nothing.
fn parse_filter(text: &str) -> Result<Targets, String> {
    let wrong = || "must be a level or a list of module=level".to_owned();
    // Spans and fields, which no module has in its name: they would be taken for one that logs nothing.
    if text.contains(['[', '{']) {
        return Err(wrong());
    }
    let directives: Vec<&str> = text
        .split(',')
        .map(str::trim)
        .filter(|directive| !directive.is_empty())
        .collect();
    directives.join(",").parse().map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use tracing::Level;
    use tracing_subscriber::filter::Targets;

    use super::parse_filter;

    #[test]
    fn blanks_and_empty_parts_mean_nothing() {
        let expected = Targets::new()
            .with_default(Level::INFO)
            .with_target("identity", Level::DEBUG);
        for text in [
            "info,identity=debug",
            " identity=debug , info,",
            ",info,,identity=debug",
        ] {
            assert_eq!(parse_filter(text), Ok(expected.clone()), "{text}");
        }
    }

    #[test]
    fn what_would_never_log_anything_is_refused() {
        for text in [
            "identity=loud",
            "[call]=debug",
            "identity[{method}]=debug",
            "a=b=c",
        ] {
            assert!(parse_filter(text).is_err(), "{text}");
        }
    }
}
