//! How many people sign in per second, and how long one of them waits, next to what bcrypt allows.
//!
//! `cargo bench --bench sign_ins` starts the server as it is released, at cost 12, first on embedded SQLite and then on
//! a PostgreSQL of its own. Measured are, in alternating rounds of one run:
//!
//! - sign-ins per second at saturation, next to `bcrypt::verify` of the crate in as many threads as there are cores, with
//!   nothing else running;
//! - how long one sign-in takes while nothing else is asked for, next to one `bcrypt::verify`.
//!
//! Load, server and database share the cores of one machine. The results are written to
//! `target/bench-results/sign_ins.json`. A run takes about five minutes;
//! `IDENTITY_BENCH_ROUNDS=1 IDENTITY_BENCH_ROUND_SECONDS=3` makes it a short one.

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

use std::time::{Duration, Instant};

use support::limits::hashing;
use support::server::DEADLINE;
use support::{
    Database, Report, Server, Spread, closed_loop, on_each_database, people, ratios, roles, settings,
    targets,
};

/// Long enough for some eighty hashes on two cores.
const ROUND_SECONDS: f64 = 10.0;
/// Until every sign-in that is counted was begun behind as many others as those after it.
const WARM_UP: Duration = Duration::from_secs(2);
/// Sign-ins under way for each core: as many as keep it busy however many it works on at once.
const PER_CORE: usize = 8;
/// Sign-ins of a round that are alone.
const ALONE: usize = 7;
/// Users who sign in, so that they do not wait for each other's rows.
const USERS: usize = 64;
const COST: u32 = 12;

fn main() {
    roles::run(async {
        let mut report = Report::new("sign_ins");
        on_each_database(async |database| {
            let cost = COST.to_string();
            let server = Server::start(&database, &[("IDENTITY_BCRYPT_COST", &cost)]).await;
            people::settle(&database, USERS, COST).await;
            saturate(&mut report, &database, &server).await;
            sign_in_alone(&mut report, &database, &server).await;
        })
        .await;
        report.finish();
    });
}

/// Sign-ins per second with as many in flight as keep every core busy, next to what bcrypt allows.
async fn saturate(report: &mut Report, database: &Database, server: &Server) {
    let (cores, span) = (settings::cores(), settings::round(ROUND_SECONDS));
    let (mut limits, mut rates, mut waits) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..settings::rounds() {
        limits.push(hashing::verifications_per_second(COST, cores, span).await);
        let (channel, credential) = (server.channel(), server.credential());
        let load = closed_loop(cores * PER_CORE, WARM_UP, span, move |turn| {
            let (channel, credential) = (channel.clone(), credential.clone());
            async move {
                let user = turn.caller % USERS;
                people::sign_in(channel, &credential, user, DEADLINE)
                    .await
                    .map(drop)
                    .into()
            }
        });
        let load = load.await.all_good();
        rates.push(load.rate());
        waits.push(load.good.percentile(99.0));
    }
    let (name, case) = (database.name(), "saturated");
    report.measure("bcrypt::verify on all cores", name, case, "hashes/s", &limits);
    report.measure("sign-ins", name, case, "sign-ins/s", &rates);
    report.measure("sign-ins p99", name, case, "ms", &waits);
    let target = Some(targets::SIGN_INS_TO_BCRYPT);
    report.figure(
        "sign-ins ÷ bcrypt::verify",
        name,
        case,
        "",
        &ratios(&rates, &limits),
        target,
    );
}

/// How long one sign-in takes while nothing else is asked for.
async fn sign_in_alone(report: &mut Report, database: &Database, server: &Server) {
    let channel = server.channel();
    let (mut limits, mut latencies) = (Vec::new(), Vec::new());
    for _ in 0..settings::rounds() {
        let (mut verifications, mut sign_ins) = (Vec::new(), Vec::new());
        for user in 0..ALONE {
            verifications.push(hashing::one_verification(COST).await.as_secs_f64() * 1e3);
            let begin = Instant::now();
            let tokens = people::sign_in(channel.clone(), &server.credential(), user, DEADLINE).await;
            tokens.expect("tokens");
            sign_ins.push(begin.elapsed().as_secs_f64() * 1e3);
        }
        limits.push(Spread::of(&verifications).median);
        latencies.push(Spread::of(&sign_ins).median);
    }
    let (name, case) = (database.name(), "alone");
    report.measure("one bcrypt::verify", name, case, "ms", &limits);
    report.measure("one sign-in", name, case, "ms", &latencies);
    let target = Some(targets::ONE_SIGN_IN_TO_BCRYPT);
    let values = ratios(&latencies, &limits);
    report.figure(
        "one sign-in ÷ one bcrypt::verify",
        name,
        case,
        "",
        &values,
        target,
    );
}
