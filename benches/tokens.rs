//! How fast tokens are refreshed, next to what the database can make durable; and that parallel exchanges of one token
//! agree on its successor.
//!
//! `cargo bench --bench tokens` starts the server as it is released, first on embedded SQLite and then on a PostgreSQL of
//! its own that keeps what it acknowledges. Measured are, in alternating rounds of one run:
//!
//! - RefreshTokens with 1, 8 and 32 sessions that are refreshed over and over, next to commits of one row, over as many
//!   connections (PostgreSQL) or by the one writer there is (SQLite), both with the settings of the service, and next to
//!   calls of a no-op RPC and to what exchanging a token takes the database by itself, one exchange after the other over
//!   as many connections: a call that waits for one takes at least as long as the two of them. On PostgreSQL, where
//!   several of them may share a statement, also to what that takes the database by itself, with a statement for each
//!   core; and next to bare exchanges, calls of a server that makes the same exchange in the database and does nothing
//!   else;
//! - rounds of parallel exchanges of one refresh token: how many tokens came of each, and how many people were signed
//!   out. `IDENTITY_BENCH_REFRESH_ROUNDS` says how many rounds (1000 unless set).
//!
//! Load, server and database share the cores and the disk of one machine. The results are written to
//! `target/bench-results/tokens.json`. A run takes about ten minutes; `IDENTITY_BENCH_ROUNDS=1
//! IDENTITY_BENCH_ROUND_SECONDS=1 IDENTITY_BENCH_REFRESH_ROUNDS=20` makes it a short one.

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

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use support::limits::{bare_exchange, no_op};
use support::roles::BareServer;
use support::server::DEADLINE;
use support::{
    Database, Report, Server, closed_loop, limits, on_each_database, people, ratios, roles, settings,
    targets,
};
use tokio::sync::Mutex;

/// Long enough for some thousand commits on a slow disk.
const ROUND_SECONDS: f64 = 3.0;
const WARM_UP: Duration = Duration::from_millis(300);
/// Sessions that are refreshed at the same time.
const SESSIONS: [usize; 3] = [1, 8, 32];
/// The parallel exchanges of one refresh token.
const PARALLEL: usize = 100;
/// Users who sign in.
const USERS: usize = 64;
/// What the database does for an exchange, without the service.
const EXCHANGES: &str = "exchanges by the database alone";
/// The same, those of all sessions in a statement for each core.
const TOGETHER: &str = "exchanges by the database alone, a statement for each core";
/// What an exchange would be if the service did nothing, and the same where exchanges share their statements.
const IN_SERIES: &str =
    "a no-op RPC and an exchange by the database alone, one after the other ÷ commits of one row";
const TOGETHER_IN_SERIES: &str =
    "a no-op RPC and an exchange in a statement for each core, one after the other ÷ commits of one row";
/// An exchange by a service that does nothing else.
const BARE: &str = "bare exchange";
/// Nothing here is about hashing.
const COST: u32 = 4;

fn main() {
    roles::run(async {
        let mut report = Report::new("tokens");
        on_each_database(async |database| {
            let cost = COST.to_string();
            let server = Server::start(&database, &[("IDENTITY_BCRYPT_COST", &cost)]).await;
            people::settle(&database, USERS, COST).await;
            let bare = Bare {
                no_op: no_op::start(),
                exchange: bare_exchange::start(&database),
            };
            for sessions in SESSIONS {
                compare(&mut report, &database, &server, &bare, sessions).await;
            }
            exchange_in_parallel(&mut report, &database, &server).await;
        })
        .await;
        report.finish();
    });
}

/// The servers that do nothing, and nothing but exchange tokens.
struct Bare {
    no_op: BareServer,
    exchange: BareServer,
}

async fn compare(
    report: &mut Report,
    database: &Database,
    server: &Server,
    bare: &Bare,
    sessions: usize,
) {
    let span = settings::round(ROUND_SECONDS);
    let (mut rates, mut commits, mut latencies) = (Vec::new(), Vec::new(), Vec::new());
    let (mut no_ops, mut exchanges, mut together) = (Vec::new(), Vec::new(), Vec::new());
    let mut bares = Vec::new();
    for _ in 0..settings::rounds() {
        commits.push(limits::commits_per_second(database, sessions, span).await);
        exchanges.push(limits::exchanges_per_second(database, sessions, span).await);
        if sessions > 1 {
            together.extend(limits::exchanges_together_per_second(database, sessions, span).await);
        }
        no_ops.push(no_ops_per_second(&bare.no_op, sessions, span).await);
        bares.push(bare_exchanges_per_second(&bare.exchange, sessions, span).await);
        let mut live = Vec::new();
        for user in 0..sessions {
            live.push(Mutex::new(refresh_token(server, user).await));
        }
        let (live, channel, credential) = (Arc::new(live), server.channel(), server.credential());
        let load = closed_loop(sessions, WARM_UP, span, move |turn| {
            let (live, channel, credential) = (Arc::clone(&live), channel.clone(), credential.clone());
            async move {
                // Nobody else refreshes this session: the lock is there for the compiler.
                let mut token = live[turn.caller].lock().await;
                let refreshed = people::refresh(channel, &credential, token.clone()).await;
                refreshed.map(|tokens| *token = tokens.refresh_token).into()
            }
        });
        let load = load.await.all_good();
        rates.push(load.rate());
        latencies.push(load.good.percentile(99.0));
    }
    let unit = if sessions == 1 { "session" } else { "sessions" };
    let (name, case) = (database.name(), format!("{sessions} {unit}"));
    report.measure("commits of one row", name, &case, "commits/s", &commits);
    report.measure(EXCHANGES, name, &case, "exchanges/s", &exchanges);
    report.measure("no-op RPC", name, &case, "calls/s", &no_ops);
    report.measure(BARE, name, &case, "calls/s", &bares);
    report.measure("RefreshTokens", name, &case, "calls/s", &rates);
    report.measure("RefreshTokens p99", name, &case, "ms", &latencies);
    // An exchange after an empty call, as if the service did nothing and looked at nothing: what one session waits for,
    // and what more of them share the cores for. Only exchanges that share a commit or a statement do better.
    let values = one_after_the_other(&no_ops, &exchanges, &commits);
    report.figure(IN_SERIES, name, &case, "", &values, None);
    if !together.is_empty() {
        report.measure(TOGETHER, name, &case, "exchanges/s", &together);
        // Where the one and the other keep the cores busy, this is what is left of them for both.
        let shared = one_after_the_other(&no_ops, &together, &commits);
        report.figure(TOGETHER_IN_SERIES, name, &case, "", &shared, None);
    }
    let possible = format!("{BARE} ÷ commits of one row");
    report.figure(&possible, name, &case, "", &ratios(&bares, &commits), None);
    let own = format!("RefreshTokens ÷ {BARE}");
    report.figure(&own, name, &case, "", &ratios(&rates, &bares), None);
    let alone = format!("{EXCHANGES} ÷ commits of one row");
    report.figure(&alone, name, &case, "", &ratios(&exchanges, &commits), None);
    report.figure(
        "RefreshTokens ÷ commits of one row",
        name,
        &case,
        "",
        &ratios(&rates, &commits),
        Some(targets::REFRESH_TO_COMMITS),
    );
}

/// What rates of calls and of exchanges allow if each call makes an exchange, as a part of a rate of commits.
fn one_after_the_other(calls: &[f64], exchanges: &[f64], commits: &[f64]) -> Vec<f64> {
    let rounds = calls.iter().zip(exchanges).zip(commits);
    rounds
        .map(|((call, exchange), commit)| 1.0 / (commit / call + commit / exchange))
        .collect()
}

async fn bare_exchanges_per_second(server: &BareServer, sessions: usize, span: Duration) -> f64 {
    let channel = server.channel();
    let load = closed_loop(sessions, WARM_UP, span, move |turn| {
        bare_exchange::call(channel.clone(), turn.caller, DEADLINE)
    });
    load.await.all_good().rate()
}

async fn no_ops_per_second(no_op: &BareServer, in_flight: usize, span: Duration) -> f64 {
    let channel = no_op.channel();
    let load = closed_loop(in_flight, WARM_UP, span, move |_| {
        no_op::call(channel.clone(), DEADLINE)
    });
    load.await.all_good().rate()
}

/// Rounds of parallel exchanges of one refresh token.
async fn exchange_in_parallel(report: &mut Report, database: &Database, server: &Server) {
    let rounds: usize = settings::number("IDENTITY_BENCH_REFRESH_ROUNDS", 1000);
    let (mut forks, mut failures, mut signed_out) = (0, 0, 0);
    let (channel, credential) = (server.channel(), server.credential());
    let mut token = refresh_token(server, 0).await;
    let begin = Instant::now();
    for _ in 0..rounds {
        let exchanges = (0..PARALLEL).map(|_| {
            let (channel, credential, token) = (channel.clone(), credential.clone(), token.clone());
            tokio::spawn(async move { people::refresh(channel, &credential, token).await })
        });
        let mut successors = HashSet::new();
        for outcome in futures_util::future::join_all(exchanges).await {
            match outcome.expect("an exchange") {
                Ok(tokens) => {
                    successors.insert(tokens.refresh_token);
                }
                Err(_) => failures += 1,
            }
        }
        forks += usize::from(successors.len() > 1);
        match successors.into_iter().next() {
            Some(successor) => token = successor,
            None => {
                signed_out += 1;
                token = refresh_token(server, 0).await;
            }
        }
    }
    let per_second = (rounds * PARALLEL) as f64 / begin.elapsed().as_secs_f64();
    let (name, case) = (database.name(), format!("{PARALLEL} of one token"));
    report.measure("parallel exchanges", name, &case, "calls/s", &[per_second]);
    report.note(format!(
        "{name}: {rounds} rounds of {PARALLEL} parallel exchanges of one refresh token: forks {forks}, failed exchanges \
         {failures}, sign-outs {signed_out}"
    ));
}

async fn refresh_token(server: &Server, user: usize) -> String {
    let tokens = people::sign_in(server.channel(), &server.credential(), user, DEADLINE).await;
    tokens.expect("tokens").refresh_token
}
