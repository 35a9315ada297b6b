//! How soon a change reaches those who watch, and what it costs that they do.
//!
//! `cargo bench --bench watch` starts two servers as they are released, first on embedded SQLite and then on a PostgreSQL
//! of its own. Measured are:
//!
//! - the time from the answer to a change until its message is read, with 1 and with 100 watchers of the server that made
//!   the change, and with one of the other server; a message that is read before the answer counts as zero;
//! - the resident memory and the share of a core of a server that 1,000 watch while nothing happens, next to the
//!   same server that nobody watches. `IDENTITY_BENCH_IDLE` says how many (1,000 unless set).
//!
//! Load, servers and database share the cores of one machine. The same figures are written to
//! `target/bench-results/watch.json`.

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
use identity::proto::identity::v1::watch_users_request::Start;
use identity::proto::identity::v1::watch_users_response::Content;
use identity::proto::identity::v1::{
    CreateUserRequest, UpdateUserRequest, User, WatchStart, WatchUsersRequest, WatchUsersResponse,
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;

/// Changes of each measurement: enough that one in a hundred is several.
const CHANGES: usize = 500;
/// Between two changes, so that one does not wait for the other.
const PAUSE: Duration = Duration::from_millis(10);
/// How long an idle server is looked at: several checkpoints.
const IDLE: Duration = Duration::from_secs(30);
/// Streams of one connection, fewer than the server allows.
const PER_CONNECTION: usize = 100;
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
    std::fs::write(folder.join("watch.json"), text).expect("the results");
}

async fn measure(database: &str, url: &str, directory: &Path) -> Value {
    println!("\n{database}");
    let server = Server::start(url, directory).await;
    let other = Server::start(url, directory).await;
    let ada = create(&server.channel()).await;
    let mut delays = Vec::new();
    for (name, watched, watchers) in [
        ("same server", &server, 1),
        ("same server", &server, 100),
        ("other server", &other, 1),
    ] {
        let milliseconds = delay(&server, watched, &ada, watchers).await;
        let (median, slow) = (percentile(&milliseconds, 0.5), percentile(&milliseconds, 0.99));
        println!("{name}, {watchers} watching: p50 {median:.2} ms, p99 {slow:.2} ms");
        delays.push(json!({ "watched": name, "watchers": watchers, "p50_ms": median, "p99_ms": slow }));
    }
    drop(other);
    let idle = idle(&server).await;
    json!({ "database": database, "delays": delays, "idle": idle })
}

/// Returns how many milliseconds after the answers to changes their messages were read.
async fn delay(server: &Server, watched: &Server, ada: &User, watchers: usize) -> Vec<f64> {
    let mut readers: Vec<JoinHandle<Vec<Instant>>> = Vec::new();
    let channel = watched.channel();
    for _ in 0..watchers {
        let mut stream = watch(&channel).await;
        readers.push(tokio::spawn(async move {
            let mut times = Vec::new();
            while times.len() < CHANGES {
                let message = stream.message().await.expect("a message").expect("no end");
                if matches!(message.content, Some(Content::Change(_))) {
                    times.push(Instant::now());
                }
            }
            times
        }));
    }
    let mut users = UserServiceClient::new(server.channel());
    let mut answers = Vec::new();
    for number in 0..CHANGES {
        let user = User {
            id: ada.id.clone(),
            full_name: format!("Ada {number} of {watchers}"),
            ..User::default()
        };
        let request = UpdateUserRequest {
            user: Some(user),
            ..UpdateUserRequest::default()
        };
        users.update_user(request).await.expect("the change");
        answers.push(Instant::now());
        tokio::time::sleep(PAUSE).await;
    }
    let mut milliseconds = Vec::new();
    for reader in readers {
        let times = reader.await.expect("the times");
        let delays = times.iter().zip(&answers);
        milliseconds
            .extend(delays.map(|(read, answered)| read.duration_since(*answered).as_secs_f64() * 1e3));
    }
    milliseconds
}

/// Returns what it costs that many watch while nothing happens.
async fn idle(server: &Server) -> Value {
    let count = std::env::var("IDENTITY_BENCH_IDLE")
        .map_or(1000, |text| text.parse().expect("IDENTITY_BENCH_IDLE"));
    let before_mebibytes = server.resident_mebibytes();
    let before = server.share_of_a_core().await;
    let mut readers = Vec::new();
    let mut channel = server.channel();
    for number in 0..count {
        if number % PER_CONNECTION == 0 {
            channel = server.channel();
        }
        let mut stream = watch(&channel).await;
        readers.push(tokio::spawn(async move {
            while stream.message().await.expect("a message").is_some() {}
        }));
    }
    let with = server.share_of_a_core().await;
    let with_mebibytes = server.resident_mebibytes();
    for reader in readers {
        assert!(!reader.is_finished(), "a watch has ended");
        reader.abort();
    }
    println!(
        "{count} watching while nothing happens: {with_mebibytes:.1} MiB instead of {before_mebibytes:.1}, \
         {:.2} % of a core instead of {:.2} %",
        with * 100.0,
        before * 100.0
    );
    json!({
        "watchers": count,
        "resident_mib": with_mebibytes,
        "resident_mib_without": before_mebibytes,
        "share_of_a_core": with,
        "share_of_a_core_without": before,
    })
}

/// Begins to watch, and waits until it is known to.
async fn watch(channel: &Channel) -> Streaming<WatchUsersResponse> {
    let request = WatchUsersRequest {
        start: Some(Start::StartAt(WatchStart::Now.into())),
        ..WatchUsersRequest::default()
    };
    let response = UserServiceClient::new(channel.clone()).watch_users(request).await;
    let mut stream = response.expect("a stream").into_inner();
    stream.message().await.expect("a checkpoint").expect("no end");
    stream
}

async fn create(channel: &Channel) -> User {
    let request = CreateUserRequest {
        user: Some(User {
            email: "ada@example.com".to_owned(),
            ..User::default()
        }),
        ..CreateUserRequest::default()
    };
    let created = UserServiceClient::new(channel.clone()).create_user(request).await;
    created.expect("a user").into_inner().user.expect("the user")
}

fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
        .get(((sorted.len().max(1) - 1) as f64 * share) as usize)
        .copied()
        .unwrap_or(f64::NAN)
}

/// The server as it is released, in a process of its own.
struct Server {
    process: Child,
    address: SocketAddr,
}

impl Server {
    async fn start(url: &str, directory: &Path) -> Self {
        let address = free_address();
        let process = Command::new(env!("CARGO_BIN_EXE_identity"))
            .current_dir(directory)
            .env_clear()
            .env("DATABASE_URL", url)
            .env("IDENTITY_MASTER_KEY", MASTER_KEY)
            .env("IDENTITY_AUTH", "off")
            .env("IDENTITY_LISTEN", address.to_string())
            .env("IDENTITY_OPERATIONS_LISTEN", free_address().to_string())
            .env("IDENTITY_LOG", "error")
            .stdin(Stdio::null())
            .spawn()
            .expect("the program");
        let server = Self { process, address };
        let mut health = HealthClient::new(server.channel());
        support::eventually("the server serves", async || {
            let answer = health.check(HealthCheckRequest::default()).await;
            answer.is_ok_and(|answer| answer.into_inner().status == 1)
        })
        .await;
        server
    }

    /// Returns a connection of its own.
    fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.address))
            .expect("an address")
            .connect_lazy()
    }

    fn resident_mebibytes(&self) -> f64 {
        let path = format!("/proc/{}/status", self.process.id());
        let status = std::fs::read_to_string(path).expect("the status of the process");
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kibibytes = line
            .and_then(|line| line.split_whitespace().nth(1))
            .expect("VmRSS");
        kibibytes.parse::<f64>().expect("a number") / 1024.0
    }

    /// Looks at the server for a while. Returns how much of a core it used.
    async fn share_of_a_core(&self) -> f64 {
        let (before, begun) = (self.processor_seconds(), Instant::now());
        tokio::time::sleep(IDLE).await;
        (self.processor_seconds() - before) / begun.elapsed().as_secs_f64()
    }

    fn processor_seconds(&self) -> f64 {
        /// USER_HZ, which is the same on every Linux that has these cores.
        const TICKS_PER_SECOND: f64 = 100.0;
        let path = format!("/proc/{}/stat", self.process.id());
        let stat = std::fs::read_to_string(path).expect("the figures of the process");
        let (_, rest) = stat.rsplit_once(')').expect("the name of the process");
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks = |index: usize| fields[index].parse::<f64>().expect("a number");
        (ticks(11) + ticks(12)) / TICKS_PER_SECOND
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
