//! This service next to others that people sign in with: fastapi-users, Django with its REST framework, better-auth.
//!
//! `cargo bench --bench peers` starts a PostgreSQL of its own, in which each of the four has a database with the same users,
//! all at bcrypt cost 12. In each round each of them is started on what is there, measured, and ended, one after the
//! other, so that nothing else runs beside it:
//!
//! - the time from the start of its first process to its first answer, and its memory some seconds later, summed over its
//!   processes, in which shared pages count once;
//! - sign-ins per second, and answers to "who am I" per second, each with as many calls in flight as suit it best, which the
//!   first round finds out;
//! - how long "who am I" takes at a steady pace, while nothing else happens and while ten times as many sign-ins are
//!   offered as it has just served. What was not answered within ten seconds counts as ten seconds. Next to it stands, for
//!   comparison, how long an empty call to a bare server takes at that pace while nothing else happens. It is no limit:
//!   calls have been quicker in a storm than in a calm.
//!
//! The others are small applications in `benches/peers`; `benches/peers/<name>/install` installs what they need into
//! `target/peers`, or `IDENTITY_BENCH_PEERS` says where it is. One that is not installed is left out. The PostgreSQL server is
//! nobody's: its memory counts for none of them. The load is made on half of the cores.
//!
//! The results are written to `target/bench-results/peers.json`. A run takes about half an hour;
//! `IDENTITY_BENCH_ROUNDS=1 IDENTITY_BENCH_ROUND_SECONDS=3 IDENTITY_BENCH_STORM_SECONDS=5` makes it a short one.

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

#[path = "peers/peer.rs"]
mod peer;
#[path = "peers/subject.rs"]
mod subject;
mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use subject::{Running, Subject};
use support::databases::{Database, start_postgres};
use support::latencies::Latencies;
use support::limits::no_op;
use support::server::DEADLINE;
use support::targets::Target;
use support::{Load, Report, closed_loop, open_loop, roles, settings, targets};

/// How long sign-ins, and then questions, are counted.
const ROUND_SECONDS: f64 = 8.0;
/// How long questions are asked at a steady pace while nothing else happens.
const CALM_SECONDS: f64 = 10.0;
/// How long a storm lasts.
const STORM_SECONDS: f64 = 15.0;
/// How long each number of calls in flight is tried.
const TRIAL_SECONDS: f64 = 5.0;
const WARM_UP: Duration = Duration::from_secs(1);
/// The numbers of calls in flight that are tried.
const IN_FLIGHT: [usize; 6] = [4, 8, 16, 32, 64, 128];
/// How long nothing runs before a subject is started: the database is still ending the connections of the one before.
const PAUSE: Duration = Duration::from_secs(3);
/// How long a subject is left alone before its memory is looked at.
const IDLE: Duration = Duration::from_secs(4);
/// Questions per second at the steady pace.
const PACE: f64 = 50.0;
/// How many times the capacity is offered in a storm.
const TIMES: f64 = 10.0;
const DATABASE: &str = "PostgreSQL";
/// The case of what is held to the others.
const AGAINST: &str = "against peers";

/// What is measured of a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Trait {
    SignIns,
    WhoAmI,
    CalmP99,
    StormP99,
    IdleMemory,
    Start,
}

impl Trait {
    const ALL: [Self; 6] = [
        Self::SignIns,
        Self::WhoAmI,
        Self::CalmP99,
        Self::StormP99,
        Self::IdleMemory,
        Self::Start,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::SignIns => "sign-ins",
            Self::WhoAmI => "who am I",
            Self::CalmP99 => "who am I p99, calm",
            Self::StormP99 => "who am I p99 in a sign-in storm",
            Self::IdleMemory => "idle memory",
            Self::Start => "start to first answer",
        }
    }

    const fn unit(self) -> &'static str {
        match self {
            Self::SignIns => "sign-ins/s",
            Self::WhoAmI => "calls/s",
            Self::CalmP99 | Self::StormP99 | Self::Start => "ms",
            Self::IdleMemory => "MiB",
        }
    }

    const fn target(self) -> Option<Target> {
        match self {
            Self::SignIns => Some(targets::PEER_SIGN_INS),
            Self::WhoAmI => Some(targets::PEER_WHO_AM_I),
            Self::CalmP99 => None,
            Self::StormP99 => Some(targets::PEER_STORM_P99),
            Self::IdleMemory => Some(targets::PEER_MEMORY),
            Self::Start => Some(targets::PEER_START),
        }
    }
}

/// The values of each round, by subject and what was measured of it.
type Values = BTreeMap<(usize, Trait), Vec<f64>>;

fn main() {
    roles::run_on(&roles::half_of_the_cores(), async {
        let Some(cluster) = start_postgres().await else {
            return;
        };
        let mut report = Report::new("peers");
        let folder = tempfile::tempdir().expect("a folder");
        let administration = Database::on_server(cluster.url("postgres"), folder.path());
        let (subjects, missing) = subject::all(&administration).await;
        missing.into_iter().for_each(|text| report.note(text));
        if subjects.len() < 2 {
            println!("there is nobody to be measured against");
            return;
        }
        measure(&mut report, &subjects).await;
        report.finish();
    });
}

async fn measure(report: &mut Report, subjects: &[Subject]) {
    let mut values = Values::new();
    let mut storms = vec![Load::default(); subjects.len()];
    let mut concurrency = Vec::new();
    let mut empty_calls = Vec::new();
    for subject in subjects {
        let running = subject.start_first().await;
        let sign_ins = best(&running, Trait::SignIns).await;
        let who_am_i = best(&running, Trait::WhoAmI).await;
        report.note(format!(
            "{}: measured with {sign_ins} sign-ins and {who_am_i} questions in flight",
            subject.name()
        ));
        concurrency.push((sign_ins, who_am_i));
    }
    for _ in 0..settings::rounds() {
        for (index, subject) in subjects.iter().enumerate() {
            let mut note = |what, value| values.entry((index, what)).or_default().push(value);
            tokio::time::sleep(PAUSE).await;
            let running = subject.start().await;
            note(Trait::Start, running.started_in.as_secs_f64() * 1e3);
            tokio::time::sleep(IDLE).await;
            note(Trait::IdleMemory, running.mebibytes());
            let running = running.with_credentials().await;
            let (sign_ins, who_am_i) = concurrency[index];
            let span = settings::round(ROUND_SECONDS);
            let capacity = load(&running, Trait::SignIns, sign_ins, span).await.rate();
            note(Trait::SignIns, capacity);
            note(
                Trait::WhoAmI,
                load(&running, Trait::WhoAmI, who_am_i, span)
                    .await
                    .all_good()
                    .rate(),
            );
            let calm = questions(&running, settings::round(CALM_SECONDS)).await;
            note(Trait::CalmP99, calm.noticed().percentile(99.0));
            let storm = storm(&running, capacity * TIMES).await;
            note(Trait::StormP99, storm.noticed().percentile(99.0));
            storms[index].add(&storm);
        }
        tokio::time::sleep(PAUSE).await;
        let calm = empty_calls_at_the_pace(settings::round(CALM_SECONDS)).await;
        empty_calls.push(calm.percentile(99.0));
    }
    tell(report, subjects, &values, &storms);
    tell_of_empty_calls(report, subjects, &values, &empty_calls);
}

/// Makes calls that do nothing at the steady pace, while nothing else happens.
async fn empty_calls_at_the_pace(span: Duration) -> Latencies {
    let server = no_op::start();
    let channel = server.channel();
    let load = open_loop(PACE, span, move |_| no_op::call(channel.clone(), DEADLINE));
    load.await.all_good().noticed()
}

/// Finds out how many calls in flight a subject serves best.
async fn best(running: &Running, what: Trait) -> usize {
    let mut rates = Vec::new();
    for in_flight in IN_FLIGHT {
        let trial = load(running, what, in_flight, settings::round(TRIAL_SECONDS)).await;
        rates.push((trial.rate(), in_flight));
    }
    rates.sort_by(|one, other| one.0.total_cmp(&other.0));
    rates[rates.len() - 1].1
}

async fn load(running: &Running, what: Trait, in_flight: usize, span: Duration) -> Load {
    let caller = running.caller();
    match what {
        Trait::SignIns => {
            let call = move |turn: support::Turn| {
                let caller = caller.clone();
                async move { caller.sign_in(turn.caller).await }
            };
            closed_loop(in_flight, WARM_UP, span, call).await
        }
        _ => {
            let call = move |turn: support::Turn| {
                let caller = caller.clone();
                async move { caller.who_am_i(turn.caller).await }
            };
            closed_loop(in_flight, WARM_UP, span, call).await
        }
    }
}

/// Offers more sign-ins than there can be, also where none was served in a short round, and returns what became of questions meanwhile.
async fn storm(running: &Running, sign_ins_per_second: f64) -> Load {
    let seconds = settings::number("IDENTITY_BENCH_STORM_SECONDS", STORM_SECONDS);
    let span = Duration::from_secs_f64(seconds);
    let people = running.caller();
    let sign_ins = open_loop(sign_ins_per_second.max(TIMES), span, move |turn| {
        let people = people.clone();
        async move { people.sign_in(turn.caller).await }
    });
    tokio::join!(sign_ins, questions(running, span)).1
}

/// Asks "who am I" at a steady pace.
async fn questions(running: &Running, span: Duration) -> Load {
    let asker = running.another_caller();
    open_loop(PACE, span, move |turn| {
        let asker = asker.clone();
        async move { asker.who_am_i(turn.caller).await }
    })
    .await
}

fn tell(report: &mut Report, subjects: &[Subject], values: &Values, storms: &[Load]) {
    for what in Trait::ALL {
        for (index, subject) in subjects.iter().enumerate() {
            let rounds = &values[&(index, what)];
            report.measure(what.name(), DATABASE, subject.name(), what.unit(), rounds);
        }
        if let Some(target) = what.target() {
            let figure = format!("{} ÷ the best of the others", what.name());
            let ratios = against_the_best(values, subjects.len(), what, what);
            report.figure(&figure, DATABASE, AGAINST, "", &ratios, Some(target));
        }
    }
    // For comparison: what the machine makes of a question at this pace when there is no storm.
    let calm = against_the_best(values, subjects.len(), Trait::CalmP99, Trait::StormP99);
    report.figure(
        "who am I p99, calm ÷ the best of the others in a sign-in storm",
        DATABASE,
        AGAINST,
        "",
        &calm,
        None,
    );
    for (subject, storm) in subjects.iter().zip(storms) {
        report.curve(
            "who am I in a sign-in storm",
            DATABASE,
            subject.name(),
            &storm.noticed(),
        );
        let others = storm.refused.count() + storm.late.count() + storm.failed.count();
        if others > 0 {
            report.note(format!(
                "{}: {others} of {} questions in storms were not answered in time or well",
                subject.name(),
                others + storm.good.count()
            ));
        }
    }
}

fn tell_of_empty_calls(report: &mut Report, subjects: &[Subject], values: &Values, empty_calls: &[f64]) {
    report.measure(
        "no-op RPC p99, calm",
        DATABASE,
        "a bare server",
        "ms",
        empty_calls,
    );
    let ratios = next_to_the_best(empty_calls, values, subjects.len(), Trait::StormP99);
    report.figure(
        "no-op RPC p99, calm ÷ the best of the others in a sign-in storm",
        DATABASE,
        AGAINST,
        "",
        &ratios,
        None,
    );
}

/// Divides a trait of ours, the first, by the best that the others have of a trait, round by round.
fn against_the_best(values: &Values, subjects: usize, own: Trait, others: Trait) -> Vec<f64> {
    next_to_the_best(&values[&(0, own)], values, subjects, others)
}

/// Divides what was measured in each round by the best that the others have of a trait.
fn next_to_the_best(own: &[f64], values: &Values, subjects: usize, others: Trait) -> Vec<f64> {
    let rounds = own.iter().enumerate();
    rounds
        .map(|(round, value)| {
            let rivals = (1..subjects).map(|index| values[&(index, others)][round]);
            let best = if others.target().is_some_and(|target| target.is_floor) {
                rivals.fold(f64::NEG_INFINITY, f64::max)
            } else {
                rivals.fold(f64::INFINITY, f64::min)
            };
            value / best
        })
        .collect()
}
