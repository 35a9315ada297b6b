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
//! results are written to `target/bench-results/connections.json`.

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

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout};
use std::time::{Duration, Instant};

use support::http2::{Http2, PREFACE};
use support::{Database, Report, Server, processes, roles, settings, statistics};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tonic_health::pb::HealthCheckRequest;

/// Fewer than there are ports for outgoing connections of one address.
const PER_PROCESS: usize = 5_000;
const GOOD: usize = 10_000;
const HOSTILE: usize = 20_000;
/// New clients that are timed.
const PROBES: usize = 200;
const CHECK: &str = "/grpc.health.v1.Health/Check";

fn main() {
    roles::raise_descriptors();
    match std::env::var(roles::ROLE) {
        Ok(role) => tokio::runtime::Runtime::new()
            .expect("a runtime")
            .block_on(hold(&role)),
        Err(_) => roles::run(measure()),
    }
}

async fn measure() {
    let mut report = Report::new("connections");
    let good_count = settings::number("IDENTITY_BENCH_GOOD", GOOD);
    let hostile_count = settings::number("IDENTITY_BENCH_HOSTILE", HOSTILE);
    let folder = tempfile::tempdir().expect("a folder");
    let database = Database::in_file(folder.path(), "bench");
    let server = Server::start(&database, &[]).await;
    let address = server.address();
    let idle = server.resident_mebibytes();

    let mut good = open("good", address, good_count, 0);
    let with_good = server.resident_mebibytes();
    let calm = probe(address).await;

    let hostile = open("hostile", address, hostile_count, good.len());
    let with_hostile = server.resident_mebibytes();
    let besieged = probe(address).await;
    let connections = metric(&server, "identity_connections ").await;
    let still_there: usize = good.iter_mut().map(Holder::count).sum();
    let peak = processes::peak_mebibytes(server.id());
    drop(hostile);

    let name = database.name();
    let beside_good = format!("{good_count} good");
    let beside_hostile = format!("{hostile_count} hostile beside");
    for (case, memory) in [
        ("nobody else", idle),
        (&beside_good, with_good),
        (&beside_hostile, with_hostile),
    ] {
        report.measure("resident memory", name, case, "MiB", &[memory]);
    }
    report.measure("resident memory, most", name, &beside_hostile, "MiB", &[peak]);
    for (case, (median, slowest)) in [(&beside_good, calm), (&beside_hostile, besieged)] {
        report.measure("first answer, median", name, case, "ms", &[median]);
        report.measure(
            &format!("first answer, slowest of {PROBES}"),
            name,
            case,
            "ms",
            &[slowest],
        );
    }
    let share = still_there as f64 / good_count as f64;
    report.figure(
        "good connections still there",
        name,
        &beside_hostile,
        "",
        &[share],
        None,
    );
    report.note(format!(
        "good ones still there: {still_there} of {good_count}; open at the end: {connections}; descriptors of the \
         server: {}",
        processes::descriptors(server.id())
    ));
    report.finish();
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
    (statistics::share(&times, 0.5), statistics::share(&times, 1.0))
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
    let parts: Vec<usize> = (0..count.div_ceil(PER_PROCESS))
        .map(|part| PER_PROCESS.min(count - part * PER_PROCESS))
        .collect();
    let mut holders: Vec<Holder> = parts
        .iter()
        .enumerate()
        .map(|(part, share)| {
            let role = format!("{kind} {server} {share} 127.0.0.{}", 2 + first_address + part);
            let mut child = roles::command(&role).spawn().expect("a holder");
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

/// Asks the server about itself.
async fn metric(server: &Server, name: &str) -> String {
    let mut stream = TcpStream::connect(server.operations_address())
        .await
        .expect("a connection");
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("a question");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("an answer");
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    value.unwrap_or("0").to_owned()
}
