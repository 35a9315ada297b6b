//! What thousands of connections cost: whether a good client is served while others have nothing good in mind.
//!
//! `cargo bench --bench connections` starts the server as it is released, on embedded SQLite, and opens connections to
//! it from several addresses of loopback, in processes of their own, because a process may not have that many
//! descriptors. Measured are:
//!
//! - how many good connections, each of which has made a call, are still there after a while: 10,000 unless
//!   `IDENTITY_BENCH_GOOD` says otherwise;
//! - how soon a new client gets its first answer while hostile connections are open: 20,000 unless
//!   `IDENTITY_BENCH_HOSTILE` says otherwise, a third silent, a third that have begun HTTP/2 and say no more, a third
//!   with half of a preface;
//! - the resident memory of the server.
//!
//! What is held depends on `ulimit -n` of the server: where it is less than 30,000, connections give way sooner. The
//! same figures are written to `target/bench-results/connections.json`.

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

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use support::http2::{Http2, PREFACE};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tonic_health::pb::HealthCheckRequest;

/// 32 bytes that nobody else should use.
const MASTER_KEY: &str = "aWRlbnRpdHkgdGVzdHMgdXNlIHRoaXMga2V5IG9ubHk=";
/// Fewer than there are ports for outgoing connections of one address.
const PER_PROCESS: usize = 5_000;
/// New clients that are timed.
const PROBES: usize = 200;
const CHECK: &str = "/grpc.health.v1.Health/Check";
/// What the processes are told apart from the bench by.
const ROLE: &str = "IDENTITY_BENCH_ROLE";

fn main() {
    rustix::process::setrlimit(
        rustix::process::Resource::Nofile,
        rustix::process::Rlimit {
            current: rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum,
            maximum: rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum,
        },
    )
    .expect("descriptors");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    match std::env::var(ROLE) {
        Ok(role) => runtime.block_on(hold(&role)),
        Err(_) => runtime.block_on(measure()),
    }
}

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |text| text.parse().expect(variable))
}

async fn measure() {
    let good_count = number("IDENTITY_BENCH_GOOD", 10_000);
    let hostile_count = number("IDENTITY_BENCH_HOSTILE", 20_000);
    let directory = tempfile::tempdir().expect("a folder");
    let server = Server::start(directory.path()).await;
    let idle = server.resident_mebibytes();

    let mut good = open("good", server.grpc, good_count, 0);
    let with_good = server.resident_mebibytes();
    let calm = probe(server.grpc).await;

    let hostile = open("hostile", server.grpc, hostile_count, good.len());
    let with_hostile = server.resident_mebibytes();
    let besieged = probe(server.grpc).await;
    let connections = server.metric("identity_connections ").await;
    let still_there: usize = good.iter_mut().map(Holder::count).sum();
    let peak = server.peak_mebibytes();
    drop(hostile);

    println!("\ndescriptors of the server: {}", server.descriptors());
    println!(
        "| | connections asked for | first answer, median / slowest of {PROBES} | memory of the server |"
    );
    println!("|---|---|---|---|");
    println!("| nobody else | 0 | | {idle:.0} MiB |");
    println!(
        "| good and idle | {good_count} | {:.1} / {:.1} ms | {with_good:.0} MiB |",
        calm.0, calm.1
    );
    println!(
        "| hostile beside them | {hostile_count} | {:.1} / {:.1} ms | {with_hostile:.0} MiB (peak {peak:.0}) |",
        besieged.0, besieged.1
    );
    println!("good ones still there: {still_there} of {good_count}; open at the end: {connections}");
    let results = json!({
        "good": good_count,
        "good_still_there": still_there,
        "hostile": hostile_count,
        "open": connections,
        "descriptors": server.descriptors(),
        "first_answer_ms": {
            "calm": { "median": calm.0, "slowest": calm.1 },
            "besieged": { "median": besieged.0, "slowest": besieged.1 },
        },
        "resident_mib": { "idle": idle, "good": with_good, "hostile": with_hostile, "peak": peak },
    });
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench-results");
    std::fs::create_dir_all(&folder).expect("a folder for the results");
    let text = serde_json::to_string_pretty(&results).expect("JSON");
    std::fs::write(folder.join("connections.json"), text).expect("the results");
}

/// Times new clients from the first packet to the answer of their first call. Returns median and slowest, in
/// milliseconds.
async fn probe(address: SocketAddr) -> (f64, f64) {
    let mut times = Vec::new();
    for _ in 0..PROBES {
        let started = Instant::now();
        let mut client = Http2::connect(address).await;
        call(&mut client).await.expect("an answer");
        times.push(started.elapsed().as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    (times[PROBES / 2], times[PROBES - 1])
}

async fn call(client: &mut Http2) -> Option<()> {
    let stream = client.call(CHECK, &HealthCheckRequest::default()).await.ok()?;
    loop {
        let frame = client.next().await?;
        if frame.stream == stream && frame.ends_stream() {
            return Some(());
        }
    }
}

/// A process that holds connections.
struct Holder {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// Opens connections in processes of their own, each from an address of its own.
fn open(kind: &str, server: SocketAddr, count: usize, first_address: usize) -> Vec<Holder> {
    let program = std::env::current_exe().expect("this program");
    let parts: Vec<usize> = (0..count.div_ceil(PER_PROCESS))
        .map(|part| PER_PROCESS.min(count - part * PER_PROCESS))
        .collect();
    let mut holders: Vec<Holder> = parts
        .iter()
        .enumerate()
        .map(|(part, share)| {
            let role = format!("{kind} {server} {share} 127.0.0.{}", 2 + first_address + part);
            let mut child = Command::new(&program)
                .env(ROLE, role)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("a holder");
            Holder {
                input: child.stdin.take().expect("its input"),
                output: BufReader::new(child.stdout.take().expect("its output")),
                child,
            }
        })
        .collect();
    for holder in &mut holders {
        holder.line();
    }
    holders
}

impl Holder {
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line");
        line
    }

    /// Asks how many connections still work.
    fn count(&mut self) -> usize {
        writeln!(self.input, "count").expect("its input");
        self.line().trim().parse().expect("a number")
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a holder does: opens its connections, says so, and counts those that are left when it is asked.
async fn hold(role: &str) {
    let parts: Vec<&str> = role.split(' ').collect();
    let [kind, server, count, source] = parts[..] else {
        panic!("{role}");
    };
    let server: SocketAddr = server.parse().expect("an address");
    let source: SocketAddr = format!("{source}:0").parse().expect("an address");
    let mut good = Vec::new();
    let mut silent = Vec::new();
    for number in 0..count.parse().expect("a number") {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(source).expect("an address of its own");
        let Ok(mut stream) = socket.connect(server).await else {
            continue;
        };
        match (kind, number % 3) {
            ("good", _) => {
                if let Ok(mut client) = Http2::over(stream, &[]).await
                    && call(&mut client).await.is_some()
                {
                    good.push(client);
                }
                continue;
            }
            (_, 0) => {}
            // Fails if it had to give way already.
            (_, 1) => drop(stream.write_all(PREFACE).await),
            (_, _) => drop(stream.write_all(&PREFACE[..12]).await),
        }
        silent.push(stream);
    }
    println!("open");
    let mut line = String::new();
    while std::io::stdin().read_line(&mut line).expect("a line") > 0 {
        let mut working = 0;
        for client in &mut good {
            working += usize::from(call(client).await.is_some());
        }
        println!("{working}");
    }
}

/// The server in a process of its own.
struct Server {
    child: Child,
    grpc: SocketAddr,
    operations: SocketAddr,
}

impl Server {
    async fn start(directory: &Path) -> Self {
        let free = || {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
            listener.local_addr().expect("its address")
        };
        let (grpc, operations) = (free(), free());
        let child = Command::new(env!("CARGO_BIN_EXE_identity"))
            .env(
                "DATABASE_URL",
                format!("sqlite://{}", directory.join("bench.db").display()),
            )
            .env("IDENTITY_DATA_DIR", directory.join("data"))
            .env("IDENTITY_LISTEN", grpc.to_string())
            .env("IDENTITY_OPERATIONS_LISTEN", operations.to_string())
            .env("IDENTITY_MASTER_KEY", MASTER_KEY)
            .env("IDENTITY_LOG", "error")
            .stdin(Stdio::null())
            .spawn()
            .expect("the server");
        let server = Self {
            child,
            grpc,
            operations,
        };
        support::eventually("the server answers", async || {
            TcpStream::connect(grpc).await.is_ok()
        })
        .await;
        server
    }

    fn status(&self, name: &str) -> f64 {
        const KIBIBYTES_PER_MEBIBYTE: f64 = 1024.0;
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("the status of the server");
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let text = line.expect("a line").trim().trim_end_matches(" kB");
        text.parse::<f64>().expect("a number") / KIBIBYTES_PER_MEBIBYTE
    }

    fn resident_mebibytes(&self) -> f64 {
        self.status("VmRSS:")
    }

    fn peak_mebibytes(&self) -> f64 {
        self.status("VmHWM:")
    }

    fn descriptors(&self) -> String {
        let path = format!("/proc/{}/limits", self.child.id());
        let limits = std::fs::read_to_string(path).expect("the limits of the server");
        let line = limits.lines().find(|line| line.starts_with("Max open files"));
        let mut words = line.expect("a line").split_whitespace().skip(3);
        words.next().expect("a number").to_owned()
    }

    async fn metric(&self, name: &str) -> String {
        use tokio::io::AsyncReadExt;
        let mut stream = TcpStream::connect(self.operations).await.expect("a connection");
        let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.expect("a question");
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("an answer");
        let value = text.lines().find_map(|line| line.strip_prefix(name));
        value.unwrap_or("0").to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
