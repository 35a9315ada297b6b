//! How fast users are read, next to a call of the same server that does nothing.
//!
//! `cargo bench --bench reads` starts the server as it is released, first on embedded SQLite and then on a
//! PostgreSQL of its own, and measures GetUser against the health check of the liveness name, which passes
//! through the same layers and answers without asking anything. Rounds of the two alternate; printed are the
//! medians of the rounds with the smallest and the largest, and the ratio of the medians. The same figures
//! are written to `target/bench-results/reads.json`.
//!
//! Load, server and database share the cores of one machine, so the ratios say more than the rates.

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

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use identity::proto::grpc::health::v1::health_client::HealthClient;
use identity::proto::identity::v1::user_service_client::UserServiceClient;
use identity::proto::identity::v1::{CreateUserRequest, GetUserRequest, User};
use serde_json::{Value, json};
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;

/// Enough for the slowest case to make a thousand calls, and for all of them to take a few minutes.
const ROUND: Duration = Duration::from_secs(2);
/// Rounds of each kind of call; odd, so that the median is one of them.
const ROUNDS: usize = 5;
/// The calls that are in flight at the same time.
const IN_FLIGHT: [usize; 3] = [1, 8, 32];
/// The users that are read, at random.
const USERS: usize = 1000;
/// 32 bytes that nobody else should use.
const MASTER_KEY: &str = "aWRlbnRpdHkgdGVzdHMgdXNlIHRoaXMga2V5IG9ubHk=";

#[derive(Clone, Copy)]
enum Call {
    Nothing,
    GetUser,
}

/// What a round measured.
struct Round {
    calls_per_second: f64,
    p50_microseconds: f64,
    p99_microseconds: f64,
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let results = runtime.block_on(async {
        let mut results = Vec::new();
        let directory = tempfile::tempdir().expect("a folder");
        let sqlite = format!("sqlite://{}", directory.path().join("bench.db").display());
        results.extend(measure("SQLite", &sqlite, directory.path()).await);
        let cluster = support::PostgresCluster::start(&[]).await;
        results.extend(measure("PostgreSQL", &cluster.url("postgres"), directory.path()).await);
        results
    });
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench-results");
    std::fs::create_dir_all(&folder).expect("a folder for the results");
    let text = serde_json::to_string_pretty(&Value::Array(results)).expect("JSON");
    std::fs::write(folder.join("reads.json"), text).expect("the results");
}

async fn measure(database: &str, url: &str, directory: &Path) -> Vec<Value> {
    let server = Server::start(url, directory).await;
    let ids = create_users(&server.channel).await;
    println!(
        "\n{database}: {USERS} users, {ROUNDS} rounds of {} s each, alternating",
        ROUND.as_secs()
    );
    println!("in flight | call    | calls/s (min-max)        | p50 µs | p99 µs | GetUser ÷ no-op");
    let mut results = Vec::new();
    for in_flight in IN_FLIGHT {
        let mut nothing = Vec::new();
        let mut get_user = Vec::new();
        for _ in 0..ROUNDS {
            nothing.push(round(&server.channel, Call::Nothing, in_flight, &ids).await);
            get_user.push(round(&server.channel, Call::GetUser, in_flight, &ids).await);
        }
        let ratio = median(&get_user, |round| round.calls_per_second)
            / median(&nothing, |round| round.calls_per_second);
        for (name, rounds) in [("no-op", &nothing), ("GetUser", &get_user)] {
            let rate = |round: &Round| round.calls_per_second;
            println!(
                "{in_flight:>9} | {name:<7} | {:>8.0} ({:>6.0}-{:>6.0}) | {:>6.0} | {:>6.0} | {}",
                median(rounds, rate),
                rounds.iter().map(rate).fold(f64::INFINITY, f64::min),
                rounds.iter().map(rate).fold(0.0, f64::max),
                median(rounds, |round| round.p50_microseconds),
                median(rounds, |round| round.p99_microseconds),
                if name == "GetUser" {
                    format!("{ratio:.2}")
                } else {
                    String::new()
                },
            );
            results.push(json!({
                "database": database,
                "in_flight": in_flight,
                "call": name,
                "calls_per_second": rounds.iter().map(rate).collect::<Vec<_>>(),
                "p50_microseconds": median(rounds, |round| round.p50_microseconds),
                "p99_microseconds": median(rounds, |round| round.p99_microseconds),
                "ratio_to_no_op": ratio,
            }));
        }
    }
    results
}

async fn round(channel: &Channel, call: Call, in_flight: usize, ids: &[String]) -> Round {
    let started = Instant::now();
    let callers: Vec<_> = (0..in_flight)
        .map(|caller| tokio::spawn(keep_calling(channel.clone(), call, caller, ids.to_vec(), started)))
        .collect();
    let mut microseconds = Vec::new();
    for caller in callers {
        microseconds.extend(caller.await.expect("calls succeed"));
    }
    let elapsed = started.elapsed().as_secs_f64();
    microseconds.sort_by(f64::total_cmp);
    let at = |share: f64| microseconds[((microseconds.len() - 1) as f64 * share) as usize];
    Round {
        calls_per_second: microseconds.len() as f64 / elapsed,
        p50_microseconds: at(0.50),
        p99_microseconds: at(0.99),
    }
}

async fn keep_calling(
    channel: Channel,
    call: Call,
    caller: usize,
    ids: Vec<String>,
    started: Instant,
) -> Vec<f64> {
    let mut users = UserServiceClient::new(channel.clone());
    let mut health = HealthClient::new(channel);
    let mut microseconds = Vec::new();
    // A multiplicative walk through the ids, a different one for each caller.
    let mut next = caller * 7919;
    while started.elapsed() < ROUND {
        let asked = Instant::now();
        match call {
            Call::Nothing => {
                let service = identity::health::LIVENESS.to_owned();
                health
                    .check(HealthCheckRequest { service })
                    .await
                    .expect("an answer");
            }
            Call::GetUser => {
                next = (next * 31 + 17) % ids.len();
                let user_id = ids[next].clone();
                users
                    .get_user(GetUserRequest { user_id })
                    .await
                    .expect("the user");
            }
        }
        microseconds.push(asked.elapsed().as_secs_f64() * 1e6);
    }
    microseconds
}

fn median(rounds: &[Round], value: impl Fn(&Round) -> f64) -> f64 {
    let mut values: Vec<f64> = rounds.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

async fn create_users(channel: &Channel) -> Vec<String> {
    let mut users = UserServiceClient::new(channel.clone());
    let mut ids = Vec::new();
    for number in 0..USERS {
        let user = User {
            email: format!("user{number}@example.com"),
            full_name: "A Person With A Name".to_owned(),
            ..User::default()
        };
        let request = CreateUserRequest {
            user: Some(user),
            ..CreateUserRequest::default()
        };
        let created = users
            .create_user(request)
            .await
            .expect("a user")
            .into_inner()
            .user;
        ids.push(created.expect("the user").id);
    }
    ids
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
            .env("IDENTITY_LOG", "warn")
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
