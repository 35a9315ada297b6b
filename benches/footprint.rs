//! What the server takes: memory, and time until it serves.
//!
//! `cargo bench --bench footprint` starts the server as it is released, at cost 12, on existing data: embedded SQLite with
//! ten thousand users, and then a PostgreSQL of its own with as many. Each round measures how long it takes from the start
//! of the process until the health says SERVING, the resident memory some seconds after that, and the most resident memory
//! while GetUser is called as fast as it goes beside as many sign-ins as there can be.
//!
//! The results are written to `target/bench-results/footprint.json`. A run takes about four minutes;
//! `IDENTITY_BENCH_ROUNDS=1 IDENTITY_BENCH_ROUND_SECONDS=2` makes it a short one.

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

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use support::databases::Kind;
use support::server::DEADLINE;
use support::{
    Answer, Database, Report, Server, closed_loop, on_each_database, people, processes, roles, settings,
    targets,
};
use tokio::net::TcpStream;

/// How long the load of a round lasts.
const ROUND_SECONDS: f64 = 8.0;
/// How long a server is left alone before its memory is looked at.
const IDLE: Duration = Duration::from_secs(5);
/// Between two looks at a server that starts: short next to how long that takes.
const PAUSE: Duration = Duration::from_micros(500);
/// Starts of each round; the median is the round's.
const STARTS: usize = 5;
const READERS: usize = 32;
const SIGN_INS: usize = 32;
const USERS: usize = 10_000;
const COST: u32 = 12;

fn main() {
    roles::run(async {
        let mut report = Report::new("footprint");
        on_each_database(async |database| measure(&mut report, &database).await).await;
        report.finish();
    });
}

async fn measure(report: &mut Report, database: &Database) {
    // Everything that a first start makes is there before the first one that counts.
    drop(Server::start(database, &[]).await);
    people::settle(database, USERS, COST).await;
    let (mut starts, mut idle, mut loaded) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..settings::rounds() {
        let mut round = Vec::new();
        for _ in 0..STARTS {
            round.push(start(database).await.as_secs_f64() * 1e3);
        }
        starts.push(support::Spread::of(&round).median);
        let server = Server::start(database, &[]).await;
        tokio::time::sleep(IDLE).await;
        idle.push(server.resident_mebibytes());
        put_under_load(&server).await;
        loaded.push(processes::peak_mebibytes(server.id()));
    }
    let name = database.name();
    let embedded = |target| (database.kind == Kind::Sqlite).then_some(target);
    let start = embedded(targets::START_MILLISECONDS);
    report.figure("start to SERVING", name, "existing data", "ms", &starts, start);
    let at_rest = Some(targets::IDLE_MEBIBYTES);
    report.figure("resident memory", name, "idle", "MiB", &idle, at_rest);
    let at_work = Some(targets::LOADED_MEBIBYTES);
    report.figure("resident memory", name, "loaded", "MiB", &loaded, at_work);
}

/// Starts a server, and returns how long it took until it served.
async fn start(database: &Database) -> Duration {
    let begin = Instant::now();
    let server = Server::spawn(database, &[]);
    wait_for(server.address()).await;
    let channel = server.channel();
    while !matches!(people::check_health(channel.clone()).await, Answer::Good) {
        assert!(begin.elapsed() < DEADLINE, "the server does not serve");
        tokio::time::sleep(PAUSE).await;
    }
    begin.elapsed()
}

/// Waits until somebody listens: a client would wait longer and longer between its attempts.
async fn wait_for(address: SocketAddr) {
    while TcpStream::connect(address).await.is_err() {
        tokio::time::sleep(PAUSE).await;
    }
}

async fn put_under_load(server: &Server) {
    let span = settings::round(ROUND_SECONDS);
    let (channel, credential) = (server.channel(), server.credential());
    let reads = closed_loop(READERS, Duration::ZERO, span, move |turn| {
        people::get_user(channel.clone(), credential.clone(), turn.pick(USERS))
    });
    let (door, service) = (server.channel(), server.credential());
    let sign_ins = closed_loop(SIGN_INS, Duration::ZERO, span, move |turn| {
        let (door, service) = (door.clone(), service.clone());
        async move {
            let tokens = people::sign_in(door, &service, turn.pick(USERS), DEADLINE);
            tokens.await.map(drop).into()
        }
    });
    tokio::join!(reads, sign_ins).0.all_good();
}
