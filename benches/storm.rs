//! What everybody else notices while ten times as many people want to sign in as can.
//!
//! `cargo bench --bench storm` starts the server as it is released, at cost 12, first on embedded SQLite and then on a
//! PostgreSQL of its own. In each round nobody signs in at first, while GetUser is called at a pace, and then as fast as
//! it goes. Then ten times as many sign-ins are offered as the server has just shown to serve, for
//! `IDENTITY_BENCH_STORM_SECONDS` (60 unless set): for three quarters of that GetUser is called at the same pace, for the
//! rest as fast as it goes; the health is asked for all the while. Sign-ins, paced calls and questions about the health
//! come when they are due, whatever became of those before, and their latency counts from then.
//!
//! What is said about refusals is about the time in which GetUser is paced. Load, server and database share the cores of
//! one machine. The results are written to `target/bench-results/storm.json`. A run takes a quarter of an hour;
//! `IDENTITY_BENCH_ROUNDS=1 IDENTITY_BENCH_STORM_SECONDS=12` makes it a short one.

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

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use support::load::open_loop_until;
use support::server::{Credential, DEADLINE};
use support::{
    Database, Load, Report, Server, closed_loop, on_each_database, open_loop, people, ratios, roles,
    settings, targets,
};
use tonic::transport::Channel;

/// How many times the capacity is offered.
const TIMES: f64 = 10.0;
/// How long a storm lasts.
const STORM_SECONDS: f64 = 60.0;
/// The part of a storm in which reads are paced.
const PACED_PART: f64 = 0.75;
/// How long the server is looked at before a storm.
const CALM_SECONDS: f64 = 10.0;
/// How long the sign-ins that the server can serve are counted.
const CAPACITY_SECONDS: f64 = 5.0;
/// Calls of GetUser per second that are due.
const PACE: f64 = 200.0;
/// Questions about the health per second.
const HEALTH_PACE: f64 = 20.0;
/// Calls of GetUser in flight as fast as it goes.
const READERS: usize = 8;
/// What a sign-in of a person at a screen may take.
const SIGN_IN_DEADLINE: Duration = Duration::from_secs(5);
/// Within which the health has to be told.
const HEALTH_LIMIT_MILLISECONDS: f64 = 1000.0;
const WARM_UP: Duration = Duration::from_secs(1);
/// Users who sign in and are read.
const USERS: usize = 10_000;
const COST: u32 = 12;

/// Connections of different people: calls of one do not wait for those of another to be written.
#[derive(Clone)]
struct Callers {
    readers: Channel,
    people: Channel,
    probe: Channel,
    credential: Credential,
}

/// What a round has shown.
struct Round {
    capacity: f64,
    offered: f64,
    calm: Load,
    calm_rate: f64,
    paced: Load,
    stormy_rate: f64,
    sign_ins: Load,
    sign_ins_beside_readers: Load,
    health: Load,
}

fn main() {
    roles::run(async {
        let mut report = Report::new("storm");
        on_each_database(async |database| {
            let cost = COST.to_string();
            let server = Server::start(&database, &[("IDENTITY_BCRYPT_COST", &cost)]).await;
            people::settle(&database, USERS, COST).await;
            let mut rounds = Vec::new();
            for _ in 0..settings::rounds() {
                rounds.push(round(&server).await);
            }
            tell(&mut report, &database, &rounds);
        })
        .await;
        report.finish();
    });
}

async fn round(server: &Server) -> Round {
    let callers = Callers {
        readers: server.channel(),
        people: server.channel(),
        probe: server.channel(),
        credential: server.credential(),
    };
    let storm = settings::number("IDENTITY_BENCH_STORM_SECONDS", STORM_SECONDS);
    let calm_span = settings::round(CALM_SECONDS);
    let closed_span = Duration::from_secs_f64(storm * (1.0 - PACED_PART)).saturating_sub(WARM_UP);
    let capacity = capacity(&callers).await;
    let calm = paced_reads(&callers, calm_span).await.all_good();
    let calm_rate = reads(&callers, closed_span).await.all_good().rate();

    // A round may be too short for a single sign-in on a busy machine.
    let offered = capacity.max(1.0) * TIMES;
    let is_over = Arc::new(AtomicBool::new(false));
    let health = tokio::spawn(watch_health(callers.clone(), Arc::clone(&is_over)));
    let paced_span = Duration::from_secs_f64(storm * PACED_PART);
    let (sign_ins, paced) = tokio::join!(
        offer(&callers, offered, paced_span, Arc::default()),
        paced_reads(&callers, paced_span),
    );
    let offering = tokio::spawn({
        let (callers, is_over) = (callers.clone(), Arc::clone(&is_over));
        async move { offer(&callers, offered, Duration::MAX, is_over).await }
    });
    let stormy_rate = reads(&callers, closed_span).await.rate();
    is_over.store(true, Ordering::Relaxed);
    Round {
        capacity,
        offered,
        calm,
        calm_rate,
        paced,
        stormy_rate,
        sign_ins,
        sign_ins_beside_readers: offering.await.expect("the sign-ins"),
        health: health.await.expect("the health"),
    }
}

/// Sign-ins per second that the server can serve.
async fn capacity(callers: &Callers) -> f64 {
    const PER_CORE: usize = 8;
    let callers = callers.clone();
    let span = settings::round(CAPACITY_SECONDS);
    let load = closed_loop(settings::cores() * PER_CORE, WARM_UP, span, move |turn| {
        let callers = callers.clone();
        async move {
            let user = turn.pick(USERS);
            let tokens = people::sign_in(callers.people, &callers.credential, user, DEADLINE);
            tokens.await.map(drop).into()
        }
    });
    load.await.rate()
}

/// Offers sign-ins, whatever becomes of them.
async fn offer(callers: &Callers, per_second: f64, span: Duration, is_over: Arc<AtomicBool>) -> Load {
    let callers = callers.clone();
    // Nothing lasts as long as the longest span there is.
    let span = span.min(Duration::from_secs(3600));
    open_loop_until(per_second, span, is_over, move |turn| {
        let callers = callers.clone();
        async move {
            let user = turn.pick(USERS);
            let tokens = people::sign_in(callers.people, &callers.credential, user, SIGN_IN_DEADLINE);
            tokens.await.map(drop).into()
        }
    })
    .await
}

async fn paced_reads(callers: &Callers, span: Duration) -> Load {
    let callers = callers.clone();
    open_loop(PACE, span, move |turn| {
        people::get_user(
            callers.readers.clone(),
            callers.credential.clone(),
            turn.pick(USERS),
        )
    })
    .await
}

async fn reads(callers: &Callers, span: Duration) -> Load {
    let callers = callers.clone();
    closed_loop(READERS, WARM_UP, span, move |turn| {
        people::get_user(
            callers.readers.clone(),
            callers.credential.clone(),
            turn.pick(USERS),
        )
    })
    .await
}

async fn watch_health(callers: Callers, is_over: Arc<AtomicBool>) -> Load {
    let span = Duration::from_secs(3600);
    open_loop_until(HEALTH_PACE, span, is_over, move |_| {
        people::check_health(callers.probe.clone())
    })
    .await
}

fn tell(report: &mut Report, database: &Database, rounds: &[Round]) {
    let (name, case) = (database.name(), "10 times the capacity");
    let each = |value: fn(&Round) -> f64| rounds.iter().map(value).collect::<Vec<f64>>();
    let calm_p99 = each(|round| round.calm.good.percentile(99.0));
    let stormy_p99 = each(|round| round.paced.noticed().percentile(99.0));
    let (calm_rate, stormy_rate) = (each(|round| round.calm_rate), each(|round| round.stormy_rate));
    report.measure(
        "capacity",
        name,
        "alone",
        "sign-ins/s",
        &each(|round| round.capacity),
    );
    report.measure("offered", name, case, "sign-ins/s", &each(|round| round.offered));
    report.measure(
        "served",
        name,
        case,
        "sign-ins/s",
        &each(|round| round.sign_ins.rate()),
    );
    report.measure(
        "GetUser p50, paced",
        name,
        "calm",
        "ms",
        &each(|round| round.calm.good.percentile(50.0)),
    );
    report.measure("GetUser p99, paced", name, "calm", "ms", &calm_p99);
    report.measure(
        "GetUser p50, paced",
        name,
        case,
        "ms",
        &each(|round| round.paced.noticed().percentile(50.0)),
    );
    report.measure("GetUser p99, paced", name, case, "ms", &stormy_p99);
    report.measure("GetUser, as fast as it goes", name, "calm", "calls/s", &calm_rate);
    report.measure("GetUser, as fast as it goes", name, case, "calls/s", &stormy_rate);
    report.measure(
        "health p99",
        name,
        case,
        "ms",
        &each(|round| round.health.good.percentile(99.0)),
    );
    report.measure(
        "health, slowest",
        name,
        case,
        "ms",
        &each(|round| round.health.good.longest()),
    );
    report.measure(
        "sign-ins p99",
        name,
        case,
        "ms",
        &each(|round| round.sign_ins.good.percentile(99.0)),
    );
    report.measure(
        "refusals p99 beside readers as fast as it goes",
        name,
        case,
        "ms",
        &each(|round| round.sign_ins_beside_readers.refused.percentile(99.0)),
    );
    let p99 = ratios(&stormy_p99, &calm_p99);
    report.figure(
        "GetUser p99 ÷ calm p99",
        name,
        case,
        "",
        &p99,
        Some(targets::STORM_READ_P99),
    );
    let kept = ratios(&stormy_rate, &calm_rate);
    report.figure(
        "read rate kept",
        name,
        case,
        "",
        &kept,
        Some(targets::STORM_READ_RATE),
    );
    let all = Some(targets::ALL);
    report.figure(
        "reads answered",
        name,
        case,
        "",
        &each(|round| answered(&round.paced)),
        all,
    );
    report.figure(
        "health told within 1 s",
        name,
        case,
        "",
        &each(healthy_share),
        all,
    );
    let refusals = each(|round| round.sign_ins.refused.percentile(99.0));
    let target = Some(targets::REFUSALS_MILLISECONDS);
    report.figure("refusals p99", name, case, "ms", &refusals, target);
    let in_time = each(|round| in_time(&round.sign_ins).min(in_time(&round.sign_ins_beside_readers)));
    report.figure("admitted sign-ins in time", name, case, "", &in_time, all);
    let mut sums = [Load::default(), Load::default(), Load::default()];
    for round in rounds {
        let loads = [&round.calm, &round.paced, &round.sign_ins];
        sums.iter_mut().zip(loads).for_each(|(sum, load)| sum.add(load));
        for load in [
            &round.paced,
            &round.sign_ins,
            &round.sign_ins_beside_readers,
            &round.health,
        ] {
            if load.failed.count() > 0 {
                report.note(format!(
                    "{name}: {} calls failed: {:?}",
                    load.failed.count(),
                    load.first_failure
                ));
            }
        }
    }
    let [calm, paced, sign_ins] = sums;
    report.curve("GetUser", name, "calm", &calm.good);
    report.curve("GetUser", name, case, &paced.noticed());
    report.curve("refusals", name, case, &sign_ins.refused);
    report.curve("sign-ins", name, case, &sign_ins.good);
}

/// The share of calls that were answered well.
fn answered(load: &Load) -> f64 {
    let others = load.refused.count() + load.late.count() + load.failed.count();
    load.good.count() as f64 / (load.good.count() + others) as f64
}

/// The share of sign-ins that were let in and got their tokens before the deadline.
fn in_time(load: &Load) -> f64 {
    let admitted = load.good.count() + load.late.count() + load.failed.count();
    load.good.count() as f64 / admitted as f64
}

/// The share of questions about the health that were answered in time, with the right answer.
fn healthy_share(round: &Round) -> f64 {
    let health = &round.health;
    if health.good.longest() <= HEALTH_LIMIT_MILLISECONDS {
        return answered(health);
    }
    let in_time = health.good.count_up_to(HEALTH_LIMIT_MILLISECONDS);
    in_time as f64 / health.good.count() as f64 * answered(health)
}
