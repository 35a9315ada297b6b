//! How many people sign in per second when more want to than can, and what everybody else notices of it.
//!
//! `cargo bench --bench sign_ins` starts the server as it is released, at cost 12, first on embedded SQLite and then on
//! a PostgreSQL of its own. Measured are, in alternating rounds of one run:
//!
//! - sign-ins per second at saturation, next to what the cores can do: `bcrypt::verify` in as many threads as there are
//!   cores, with nothing else running;
//! - GetUser, paced, and the health check while ten times as many sign-ins are offered as can be served, next to the same
//!   with nobody signing in; and how soon the sign-ins were refused that could not be served;
//! - rounds of parallel exchanges of one refresh token: how many tokens came of each, and how many people were signed
//!   out. `IDENTITY_BENCH_REFRESH_ROUNDS` says how many rounds (1000 unless set).
//!
//! Load, server and database share the cores of one machine. The same figures are written to
//! `target/bench-results/sign_ins.json`.

#![allow(
    unreachable_pub,
    dead_code,
    unused_imports,
    unused_macros,
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::as_conversions,
    clippy::string_slice,
    reason = "a failed expectation ends the bench, and it uses a part of the tests' support only"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::HashSet;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use identity::proto::grpc::health::v1::health_client::HealthClient;
use identity::proto::identity::v1::auth_service_client::AuthServiceClient;
use identity::proto::identity::v1::user_service_client::UserServiceClient;
use identity::proto::identity::v1::{
    Client, CreateUserRequest, GetUserRequest, RefreshTokensRequest, SignInWithPasswordRequest, User,
};
use serde_json::{Value, json};
use tonic::Code;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;

/// Long enough for some thirty hashes on two cores.
const ROUND: Duration = Duration::from_secs(5);
/// Rounds of each kind; odd, so that the median is one of them.
const ROUNDS: usize = 5;
/// Users who sign in, so that they do not wait for each other's rows.
const USERS: usize = 64;
/// Calls of GetUser and of the health check per second while others sign in.
const PACE: u32 = 100;
/// The parallel exchanges of one refresh token.
const PARALLEL: usize = 100;
const COST: u32 = 12;
const PASSWORD: &str = "correct horse battery";
/// 32 bytes that nobody else should use.
const MASTER_KEY: &str = "aWRlbnRpdHkgdGVzdHMgdXNlIHRoaXMga2V5IG9ubHk=";

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let results = runtime.block_on(async {
        let directory = tempfile::tempdir().expect("a folder");
        let sqlite = format!("sqlite://{}", directory.path().join("bench.db").display());
        let mut results = vec![measure("SQLite", &sqlite, directory.path()).await];
        let cluster = support::PostgresCluster::start(&[]).await;
        results.push(measure("PostgreSQL", &cluster.url("postgres"), directory.path()).await);
        results
    });
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench-results");
    std::fs::create_dir_all(&folder).expect("a folder for the results");
    let text = serde_json::to_string_pretty(&Value::Array(results)).expect("JSON");
    std::fs::write(folder.join("sign_ins.json"), text).expect("the results");
}

async fn measure(database: &str, url: &str, directory: &Path) -> Value {
    println!("\n{database}");
    let server = Server::start(url, directory).await;
    let users = create_users(&server.channel).await;
    let saturation = saturation(&server.channel).await;
    let overload = overload(&server.channel, &users).await;
    let refreshes = refreshes(&server.channel).await;
    json!({ "database": database, "saturation": saturation, "overload": overload, "refreshes": refreshes })
}

/// Sign-ins per second with as many in flight as keep every core busy, next to what bcrypt allows.
async fn saturation(channel: &Channel) -> Value {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut limits = Vec::new();
    let mut rates = Vec::new();
    for _ in 0..ROUNDS {
        limits.push(verifications_per_second(cores).await);
        rates.push(sign_ins_per_second(channel, cores * 4).await);
    }
    let ratio = median(&rates) / median(&limits);
    println!(
        "sign-ins/s at saturation {:.2} ({:.2}-{:.2}); bcrypt::verify on {cores} cores {:.2}/s ({:.2}-{:.2}); ratio {ratio:.2}",
        median(&rates),
        smallest(&rates),
        largest(&rates),
        median(&limits),
        smallest(&limits),
        largest(&limits),
    );
    json!({ "sign_ins_per_second": rates, "verifications_per_second": limits, "ratio": ratio })
}

async fn verifications_per_second(threads: usize) -> f64 {
    let hash = bcrypt::hash(PASSWORD, COST).expect("a hash");
    let started = Instant::now();
    let workers: Vec<_> = (0..threads)
        .map(|_| {
            let hash = hash.clone();
            tokio::task::spawn_blocking(move || {
                let mut count = 0_usize;
                while started.elapsed() < ROUND {
                    assert!(bcrypt::verify(PASSWORD, &hash).expect("a verdict"));
                    count += 1;
                }
                // The last one ended after the round: what counts is the time it took.
                count as f64 / started.elapsed().as_secs_f64()
            })
        })
        .collect();
    let mut rate = 0.0;
    for worker in workers {
        rate += worker.await.expect("a rate");
    }
    rate
}

async fn sign_ins_per_second(channel: &Channel, in_flight: usize) -> f64 {
    let started = Instant::now();
    let callers: Vec<_> = (0..in_flight)
        .map(|caller| {
            let channel = channel.clone();
            tokio::spawn(async move {
                let mut count = 0_usize;
                while started.elapsed() < ROUND {
                    sign_in(&channel, caller % USERS).await.expect("tokens");
                    count += 1;
                }
                count as f64 / started.elapsed().as_secs_f64()
            })
        })
        .collect();
    let mut rate = 0.0;
    for caller in callers {
        rate += caller.await.expect("a rate");
    }
    rate
}

/// What GetUser and the health check notice while ten times as many sign-ins are offered as can be served.
async fn overload(channel: &Channel, users: &[String]) -> Value {
    let mut idle = (Vec::new(), Vec::new());
    let mut busy = (Vec::new(), Vec::new());
    let mut refusals = Vec::new();
    let (mut served, mut health_failures) = (0, 0);
    for _ in 0..ROUNDS {
        let (reads, checks, failures) = paced(channel, users).await;
        idle.0.push(percentile(&reads, 0.99));
        idle.1.push(percentile(&checks, 0.99));
        health_failures += failures;

        let ends = Arc::new(AtomicBool::new(false));
        let offer = tokio::spawn(offer(channel.clone(), Arc::clone(&ends)));
        let (busy_reads, busy_checks, busy_failures) = paced(channel, users).await;
        ends.store(true, Ordering::Relaxed);
        let (answered, refused) = offer.await.expect("the offered sign-ins");
        busy.0.push(percentile(&busy_reads, 0.99));
        busy.1.push(percentile(&busy_checks, 0.99));
        health_failures += busy_failures;
        served += answered;
        refusals.extend(refused);
    }
    let refused_p99 = percentile(&refusals, 0.99);
    println!(
        "offered 10 times the capacity: served {served}, refused {} (p99 {refused_p99:.1} ms); health answers that were not SERVING: {health_failures}",
        refusals.len(),
    );
    for (what, quiet, loud) in [("GetUser", &idle.0, &busy.0), ("health", &idle.1, &busy.1)] {
        println!(
            "{what} p99: idle {:.2} ms ({:.2}-{:.2}), beside sign-ins {:.2} ms ({:.2}-{:.2}), ratio {:.1}",
            median(quiet),
            smallest(quiet),
            largest(quiet),
            median(loud),
            smallest(loud),
            largest(loud),
            median(loud) / median(quiet),
        );
    }
    json!({
        "get_user_p99_ms": { "idle": idle.0, "busy": busy.0 },
        "health_p99_ms": { "idle": idle.1, "busy": busy.1 },
        "served": served,
        "refused": refusals.len(),
        "refused_p99_ms": refused_p99,
        "health_failures": health_failures,
    })
}

/// Calls at a fixed pace, each timed from when it should have begun.
async fn paced(channel: &Channel, users: &[String]) -> (Vec<f64>, Vec<f64>, usize) {
    let started = Instant::now();
    let period = Duration::from_secs(1) / PACE;
    let mut calls = Vec::new();
    for number in 0.. {
        let due = started + period * number;
        if due >= started + ROUND {
            break;
        }
        let channel = channel.clone();
        let user_id = users[number as usize % users.len()].clone();
        calls.push(tokio::spawn(async move {
            tokio::time::sleep_until(due.into()).await;
            let request = GetUserRequest { user_id };
            let mut client = UserServiceClient::new(channel.clone());
            client.get_user(request).await.expect("the user");
            let read = milliseconds(due.elapsed());
            let asked = Instant::now();
            let answer = HealthClient::new(channel)
                .check(HealthCheckRequest::default())
                .await;
            let is_serving = answer.is_ok_and(|answer| answer.into_inner().status == 1);
            (read, milliseconds(asked.elapsed()), usize::from(!is_serving))
        }));
    }
    let (mut reads, mut checks, mut failures) = (Vec::new(), Vec::new(), 0);
    for call in calls {
        let (read, check, failed) = call.await.expect("a call");
        reads.push(read);
        checks.push(check);
        failures += failed;
    }
    (reads, checks, failures)
}

/// Offers sign-ins at ten times what the cores can do, whatever becomes of them. Returns how many were answered, and how
/// long the refused ones took.
async fn offer(channel: Channel, ends: Arc<AtomicBool>) -> (usize, Vec<f64>) {
    const OFFERED_PER_SECOND: u32 = 80;
    let period = Duration::from_secs(1) / OFFERED_PER_SECOND;
    let started = Instant::now();
    let mut calls = Vec::new();
    for number in 0.. {
        if ends.load(Ordering::Relaxed) {
            break;
        }
        tokio::time::sleep_until((started + period * number).into()).await;
        let channel = channel.clone();
        calls.push(tokio::spawn(async move {
            let asked = Instant::now();
            let outcome = sign_in(&channel, number as usize % USERS).await;
            (outcome.map(|_| ()), milliseconds(asked.elapsed()))
        }));
    }
    let (mut answered, mut refused) = (0, Vec::new());
    for call in calls {
        match call.await.expect("a sign-in") {
            (Ok(()), _) => answered += 1,
            (Err(status), took) if status.code() == Code::ResourceExhausted => refused.push(took),
            (Err(status), _) => panic!("{status:?}"),
        }
    }
    (answered, refused)
}

/// Rounds of parallel exchanges of one refresh token.
async fn refreshes(channel: &Channel) -> Value {
    let rounds: usize = std::env::var("IDENTITY_BENCH_REFRESH_ROUNDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1000);
    let (mut forks, mut failures, mut signed_out) = (0, 0, 0);
    let mut token = sign_in(channel, 0).await.expect("tokens");
    let started = Instant::now();
    for _ in 0..rounds {
        let exchanges = (0..PARALLEL).map(|_| tokio::spawn(exchange(channel.clone(), token.clone())));
        let mut successors = HashSet::new();
        for outcome in futures_util::future::join_all(exchanges).await {
            match outcome.expect("an exchange") {
                Ok(successor) => {
                    successors.insert(successor);
                }
                Err(_) => failures += 1,
            }
        }
        forks += usize::from(successors.len() > 1);
        match successors.into_iter().next() {
            Some(successor) => token = successor,
            None => {
                signed_out += 1;
                token = sign_in(channel, 0).await.expect("tokens");
            }
        }
    }
    let per_second = (rounds * PARALLEL) as f64 / started.elapsed().as_secs_f64();
    println!(
        "{rounds} rounds of {PARALLEL} parallel exchanges: forks {forks}, failed exchanges {failures}, sign-outs {signed_out}; {per_second:.0} exchanges/s"
    );
    json!({
        "rounds": rounds,
        "parallel": PARALLEL,
        "forks": forks,
        "failures": failures,
        "sign_outs": signed_out,
        "exchanges_per_second": per_second,
    })
}

async fn exchange(channel: Channel, refresh_token: String) -> Result<String, tonic::Status> {
    let request = RefreshTokensRequest {
        refresh_token,
        client: None,
    };
    let response = AuthServiceClient::new(channel).refresh_tokens(request).await?;
    Ok(response.into_inner().tokens.expect("tokens").refresh_token)
}

async fn sign_in(channel: &Channel, user: usize) -> Result<String, tonic::Status> {
    let request = SignInWithPasswordRequest {
        identifier: email(user),
        password: PASSWORD.to_owned(),
        client: Some(Client {
            ip_address: "192.0.2.1".to_owned(),
            ..Client::default()
        }),
    };
    let response = AuthServiceClient::new(channel.clone())
        .sign_in_with_password(request)
        .await?;
    Ok(response.into_inner().tokens.expect("tokens").refresh_token)
}

fn email(number: usize) -> String {
    format!("user{number}@example.com")
}

async fn create_users(channel: &Channel) -> Vec<String> {
    let mut users = UserServiceClient::new(channel.clone());
    let mut ids = Vec::new();
    for number in 0..USERS {
        // One after the other: at once they would be more than the server lets wait.
        let request = CreateUserRequest {
            user: Some(User {
                email: email(number),
                ..User::default()
            }),
            password: PASSWORD.to_owned(),
            ..CreateUserRequest::default()
        };
        let created = users.create_user(request).await.expect("a user").into_inner();
        ids.push(created.user.expect("the user").id);
    }
    ids
}

fn milliseconds(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
        .get(((sorted.len().max(1) - 1) as f64 * share) as usize)
        .copied()
        .unwrap_or(f64::NAN)
}

fn median(values: &[f64]) -> f64 {
    percentile(values, 0.5)
}

fn smallest(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

fn largest(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

/// The server as it is released, in a process of its own.
struct Server {
    process: Child,
    channel: Channel,
}

impl Server {
    async fn start(url: &str, directory: &Path) -> Self {
        let grpc = free_address();
        let process = Command::new(env!("CARGO_BIN_EXE_identity"))
            .current_dir(directory)
            .env_clear()
            .env("DATABASE_URL", url)
            .env("IDENTITY_MASTER_KEY", MASTER_KEY)
            .env("IDENTITY_LISTEN", grpc.to_string())
            .env("IDENTITY_OPERATIONS_LISTEN", free_address().to_string())
            .env("IDENTITY_BCRYPT_COST", COST.to_string())
            // The one network that all of them come from is nobody's to lock out here.
            .env("IDENTITY_MAX_CONCURRENT_STREAMS", "1000")
            .env("IDENTITY_LOG", "error")
            .stdin(Stdio::null())
            .spawn()
            .expect("the program");
        let channel = Endpoint::from_shared(format!("http://{grpc}"))
            .expect("an address")
            .connect_lazy();
        let mut health = HealthClient::new(channel.clone());
        support::eventually("the server serves", async || {
            let answer = health.check(HealthCheckRequest::default()).await;
            answer.is_ok_and(|answer| answer.into_inner().status == 1)
        })
        .await;
        Self { process, channel }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address")
}
