//! How results are told: printed as tables, and written as JSON of one shape for all benches.
//!
//! A report has figures (ratios and what else the service is held to, each beside its target), measures (what was
//! measured to come to them), and curves (percentiles of latencies). Each says on which database and in which case it
//! was measured, and has the values of all rounds beside their median, smallest and largest.

use std::path::PathBuf;
use std::process::Command;

use serde::{Deserialize, Serialize};

use super::statistics::Spread;
use super::targets::Target;
use super::{latencies::Latencies, settings};

/// The first line of a table of figures.
pub const TABLE_HEAD: &str =
    "| figure | database | case | median | min–max | bound | goal | reached |\n";

/// The second one.
pub const TABLE_RULE: &str = "|---|---|---|---|---|---|---|---|\n";

/// What a bench has found out.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    pub bench: String,
    pub time: String,
    pub commit: String,
    pub machine: Machine,
    pub figures: Vec<Figure>,
    pub measures: Vec<Measure>,
    pub curves: Vec<Curve>,
    /// What has to be known to understand the rest.
    pub notes: Vec<String>,
}

/// What it was measured on.
#[derive(Debug, Serialize, Deserialize)]
pub struct Machine {
    pub processor: String,
    pub cores: usize,
    pub memory_gibibytes: f64,
    pub system: String,
    pub postgres: String,
}

/// Something the service is held to, or that tells where it stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Figure {
    pub name: String,
    pub database: String,
    pub case: String,
    pub unit: String,
    #[serde(flatten)]
    pub spread: Spread,
    pub target: Option<Target>,
    pub verdict: Option<String>,
}

/// Something that was measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Measure {
    pub name: String,
    pub database: String,
    pub case: String,
    pub unit: String,
    #[serde(flatten)]
    pub spread: Spread,
}

/// Latencies, as percentiles with their milliseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Curve {
    pub name: String,
    pub database: String,
    pub case: String,
    pub percentiles: Vec<[f64; 2]>,
}

/// Returns the folder that results are written to.
pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/bench-results")
}

impl Report {
    /// Begins a report.
    pub fn new(bench: &str) -> Self {
        Self {
            bench: bench.to_owned(),
            time: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            commit: commit(),
            machine: Machine::this(),
            figures: Vec::new(),
            measures: Vec::new(),
            curves: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Adds what was measured in each round, and prints it.
    pub fn measure(&mut self, name: &str, database: &str, case: &str, unit: &str, values: &[f64]) {
        let Some(spread) = self.spread(name, database, case, values) else {
            return;
        };
        println!(
            "{database:<10} | {case:<22} | {name:<44} | {} {unit} ({} to {})",
            short(spread.median),
            short(spread.min),
            short(spread.max)
        );
        self.measures.push(Measure {
            name: name.to_owned(),
            database: database.to_owned(),
            case: case.to_owned(),
            unit: unit.to_owned(),
            spread,
        });
    }

    /// Adds what follows for each round. The tables at the end have it.
    pub fn figure(
        &mut self,
        name: &str,
        database: &str,
        case: &str,
        unit: &str,
        values: &[f64],
        target: Option<Target>,
    ) {
        let Some(spread) = self.spread(name, database, case, values) else {
            return;
        };
        self.figures.push(Figure {
            name: name.to_owned(),
            database: database.to_owned(),
            case: case.to_owned(),
            unit: unit.to_owned(),
            verdict: target.map(|target| target.verdict(&spread).to_owned()),
            spread,
            target,
        });
    }

    /// Adds latencies.
    pub fn curve(&mut self, name: &str, database: &str, case: &str, latencies: &Latencies) {
        self.curves.push(Curve {
            name: name.to_owned(),
            database: database.to_owned(),
            case: case.to_owned(),
            percentiles: latencies.curve(),
        });
    }

    /// Adds what has to be known, and prints it.
    pub fn note(&mut self, text: String) {
        println!("{text}");
        self.notes.push(text);
    }

    /// Sums rounds up. What was not there in any round is noted instead.
    fn spread(&mut self, name: &str, database: &str, case: &str, values: &[f64]) -> Option<Spread> {
        let finite: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
        if finite.is_empty() {
            self.note(format!(
                "{database}, {case}: there was nothing of which to take “{name}”"
            ));
            return None;
        }
        Some(Spread::of(&finite))
    }

    /// Prints the figures, and writes everything.
    pub fn finish(self) {
        println!(
            "\n{}: medians of the rounds, with the smallest and the largest",
            self.bench
        );
        if !self.figures.is_empty() {
            print!("{TABLE_HEAD}{TABLE_RULE}");
        }
        for figure in &self.figures {
            println!("{}", figure.row());
        }
        let folder = folder();
        std::fs::create_dir_all(&folder).expect("a folder for the results");
        let text = serde_json::to_string_pretty(&self).expect("JSON");
        let file = folder.join(format!("{}.json", self.bench));
        std::fs::write(&file, text).expect("the results");
        println!("\nwritten to {}", file.display());
    }
}

impl Figure {
    /// Returns the line of a table.
    pub fn row(&self) -> String {
        let limit = |value: f64| match self.target {
            Some(target) if target.is_floor => format!("≥ {}", short(value)),
            _ => format!("≤ {}", short(value)),
        };
        format!(
            "| {} | {} | {} | {}{} | {}–{} | {} | {} | {} |",
            self.name,
            self.database,
            self.case,
            short(self.spread.median),
            if self.unit.is_empty() {
                String::new()
            } else {
                format!(" {}", self.unit)
            },
            short(self.spread.min),
            short(self.spread.max),
            self.target.map(|target| limit(target.bound)).unwrap_or_default(),
            self.target
                .and_then(|target| target.goal)
                .map(limit)
                .unwrap_or_default(),
            self.verdict.as_deref().unwrap_or_default(),
        )
    }
}

/// Writes a number with as many digits as say something.
pub fn short(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0..100.0 => format!("{value:.1}"),
        1.0..10.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

impl Machine {
    fn this() -> Self {
        const KIBIBYTES_PER_GIBIBYTE: f64 = 1024.0 * 1024.0;
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            let value = line.and_then(|line| line.split_once(':'));
            value
                .map(|(_, value)| value.trim().to_owned())
                .unwrap_or_default()
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        let kibibytes: f64 = memory.trim_end_matches(" kB").parse().unwrap_or(0.0);
        Self {
            processor: field(&read("/proc/cpuinfo"), "model name"),
            cores: settings::cores(),
            memory_gibibytes: kibibytes / KIBIBYTES_PER_GIBIBYTE,
            system: format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
            postgres: output_of("postgres", &["--version"]),
        }
    }
}

/// Returns the commit that is measured, and says if there is more than that.
fn commit() -> String {
    let commit = output_of("git", &["rev-parse", "--short", "HEAD"]);
    let changes = output_of("git", &["status", "--porcelain", "--untracked-files=no"]);
    if changes.is_empty() {
        commit
    } else {
        format!("{commit} with changes")
    }
}

fn output_of(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    output
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .unwrap_or_default()
}
