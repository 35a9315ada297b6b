//! Writes `docs/performance.md` and its plots from the results that are there.
//!
//! `cargo bench --bench report` measures nothing: it reads `target/bench-results/*.json`, which the other benches have
//! written, and says of each when, on what and of which commit it was measured. What the page says of a bench that has no
//! results there stays as it is.

#![allow(
    unreachable_pub,
    dead_code,
    unused_imports,
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::as_conversions,
    clippy::string_slice,
    clippy::wildcard_enum_match_arm,
    reason = "a failed expectation ends the bench, and it uses a part of the support only"
)]

#[path = "report/plots.rs"]
mod plots;
#[path = "report/sections.rs"]
mod sections;
mod support;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use sections::{SECTIONS, Section};
use support::Report;
use support::results::{self, Figure, TABLE_HEAD, TABLE_RULE, short};

const HEAD: &str = "\
# Performance

Written by `cargo bench --bench report` from what the benches have measured; not to be edited by hand.

Most figures are ratios: to an empty call of the same stack, to the bcrypt crate, to what the database does by itself, to
others of its kind. Each was measured in one run with what it is held to, in rounds that alternate between the two. A
figure is the median of the ratios of the rounds; beside it stand the smallest and the largest. Ratios carry over to
other machines better than rates do. Not everything is measured anew after every change: each part says when it was,
of which commit and on what. Rates of different parts were measured on different days, and are not to be compared.

";

const CAVEATS: &str = "\
## Caveats

- Load, server and database share the cores of one machine. A client of its own machine would leave the server more of
  it: rates would be higher, and ratios to the empty call lower, because part of both is the client.
- The machine is virtual and has neighbours. Where the smallest and the largest are far apart, the median says little.
- PostgreSQL runs with its own defaults (`fsync`, `full_page_writes` and `synchronous_commit` on, 128 MB of shared buffers)
  on the disk of the same machine, SQLite with `synchronous=FULL`. How fast that disk flushes decides about everything
  that commits.
- Who measures latencies on a busy machine waits for a core, too: what is said about a storm is about the
  server and its caller together.
- A processor of another kind gives other ratios. On an AMD EPYC an earlier version kept 0.87 of GetUser's rate on SQLite
  at a million users; its rate at ten thousand was a quarter lower there.
- The others differ most in a storm. On an Intel Xeon an earlier version had 0.074 of the p99 of the best of them, and missed
  its bound: that of fastapi-users was 16.7 ms there, and 397 ms on the AMD EPYC.
- Bulk-loaded users have no events, and databases were warm.
- Peers are configured as well as we know how, by people who know this service better than theirs.
";

fn main() {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = home.join("docs/performance");
    fs::create_dir_all(&folder).expect("a folder for the plots");
    let file = home.join("docs/performance.md");
    let before = fs::read_to_string(&file).unwrap_or_default();
    let told: Vec<Told> = SECTIONS
        .iter()
        .filter_map(|section| match read(section.bench) {
            Some(report) => Some(Told::anew(section, &report, &folder)),
            None => Told::before(section, &before),
        })
        .collect();
    let mut page = HEAD.to_owned();
    page.push_str("## Where it stands\n\n");
    if told.is_empty() {
        page.push_str("Nothing has been measured yet.\n\n");
    }
    let _ = write!(page, "| part {TABLE_HEAD}|---{TABLE_RULE}");
    page.extend(told.iter().map(|part| part.rows.as_str()));
    page.push_str("\n“goal” and “bound” say what the median has reached; “missed” that it has reached neither. Where the bound is\n1.000, no round may be an exception.\n\n");
    page.extend(told.iter().map(|part| part.text.as_str()));
    page.push_str(CAVEATS);
    fs::write(&file, page).expect("the page");
    let anew = told.iter().filter(|part| part.is_new).count();
    println!("{anew} of {} parts told anew in {}", told.len(), file.display());
}

/// What the page says of a bench.
struct Told {
    /// What the service is held to, for the table at the beginning.
    rows: String,
    /// The part of the page, with its heading.
    text: String,
    is_new: bool,
}

impl Told {
    fn anew(section: &Section, report: &Report, folder: &Path) -> Self {
        let mut rows = String::new();
        for figure in report.figures.iter().filter(|figure| figure.target.is_some()) {
            let _ = writeln!(rows, "{}{}", first_column(section), figure.row());
        }
        Self {
            rows,
            text: tell(section, report, folder),
            is_new: true,
        }
    }

    /// Takes it from the page as it was, if it was there.
    fn before(section: &Section, page: &str) -> Option<Self> {
        let heading = format!("## {}\n", section.title);
        let (_, rest) = page.split_once(&format!("\n{heading}"))?;
        let own = rest.split("\n## ").next()?;
        let first = first_column(section);
        let rows = page.lines().filter(|line| line.starts_with(&first));
        Some(Self {
            rows: rows.map(|row| format!("{row}\n")).collect(),
            text: format!("{heading}{own}\n"),
            is_new: false,
        })
    }
}

/// The first column of a row, which tells what part of the page it is from.
fn first_column(section: &Section) -> String {
    let anchor = section.title.to_lowercase().replace(' ', "-");
    format!("| [{}](#{anchor}) ", section.title)
}

/// Reads the results of a bench, if there are any.
fn read(bench: &str) -> Option<Report> {
    let text = fs::read_to_string(results::folder().join(format!("{bench}.json"))).ok()?;
    match serde_json::from_str(&text) {
        Ok(report) => Some(report),
        Err(error) => {
            println!("{bench}: not in the form that is known ({error}); measure it again");
            None
        }
    }
}

fn tell(section: &Section, report: &Report, folder: &Path) -> String {
    let mut text = format!("## {}\n\n{}\n\n", section.title, section.text);
    let machine = &report.machine;
    let _ = writeln!(
        text,
        "`cargo bench --bench {}`, {}, commit {}, on {} cores of {} with {:.0} GiB ({}; {}).\n",
        report.bench,
        report.time,
        report.commit,
        machine.cores,
        machine.processor,
        machine.memory_gibibytes,
        machine.system,
        machine.postgres,
    );
    for (file, title) in section.draw(report, folder) {
        let _ = writeln!(text, "![{title}](performance/{file}.svg)\n");
    }
    let others: Vec<&Figure> = report
        .figures
        .iter()
        .filter(|figure| figure.target.is_none())
        .collect();
    if !others.is_empty() {
        let _ = write!(text, "{TABLE_HEAD}{TABLE_RULE}");
        for figure in others {
            let _ = writeln!(text, "{}", figure.row());
        }
        text.push('\n');
    }
    text.push_str("<details><summary>What was measured</summary>\n\n");
    text.push_str(
        "| measure | database | case | median | min–max | rounds |\n|---|---|---|---|---|---|\n",
    );
    for measure in &report.measures {
        let spread = &measure.spread;
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} {} | {}–{} | {} |",
            measure.name,
            measure.database,
            measure.case,
            short(spread.median),
            measure.unit,
            short(spread.min),
            short(spread.max),
            spread.values.len(),
        );
    }
    text.push_str("\n</details>\n\n");
    for note in &report.notes {
        let _ = writeln!(text, "- {note}");
    }
    if !report.notes.is_empty() {
        text.push('\n');
    }
    text
}
