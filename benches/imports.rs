//! How fast users come in who bring the hashes of their passwords along.
//!
//! `cargo bench --bench imports` imports users into embedded SQLite and into a PostgreSQL server of its own: with
//! `identity import`, and with ImportUsers from four callers at the same time, next to one statement that makes as many
//! rows of `users` without looking at anything. `IDENTITY_BENCH_USERS` says how many users a round has (20,000 unless
//! set). Callers, server and database share the cores of one machine; rounds alternate, and medians are printed with the
//! lowest and the highest. The same figures are written to `target/bench-results/imports.json`.

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

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use identity::proto::identity::v1::user_service_client::UserServiceClient;
use identity::proto::identity::v1::{ImportUsersRequest, ImportedUser};
use serde_json::{Value, json};
use tonic::transport::{Channel, Endpoint};

const ROUNDS: usize = 5;
const CALLERS: usize = 4;
const PER_CALL: usize = 1_000;
/// 32 bytes that nobody else should use.
const MASTER_KEY: &str = "aWRlbnRpdHkgdGVzdHMgdXNlIHRoaXMga2V5IG9ubHk=";
/// Of a password that nobody has to know.
const HASH: &str = "$2b$12$DDWak9F6xAsxi1.ksxzYiuvqsQqenw9AMsldvYR.EBDzdD02B96US";

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
    std::fs::write(folder.join("imports.json"), text).expect("the results");
}

async fn measure(database: &str, url: &str, directory: &Path) -> Value {
    let count: usize = std::env::var("IDENTITY_BENCH_USERS")
        .map_or(20_000, |text| text.parse().expect("IDENTITY_BENCH_USERS"));
    run(url, directory, &["migrate", "up"]);
    let address = free_address();
    let server = Serving(
        program(url, directory)
            .env("IDENTITY_LISTEN", address.to_string())
            .env("IDENTITY_OPERATIONS_LISTEN", free_address().to_string())
            .spawn()
            .expect("the program"),
    );
    support::eventually("the server answers", async || {
        let one = vec![user("probe", 0)];
        call(&channel(address), one).await.is_ok()
    })
    .await;
    let (mut command, mut calls, mut statement) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        command.push(rate(count, by_command(url, directory, count, round)));
        calls.push(rate(count, by_calls(address, count, round).await));
        statement.push(rate(count, by_statement(url, count, round).await));
    }
    drop(server);
    let (command, calls, statement) = (spread(command), spread(calls), spread(statement));
    println!("\n{database}: users per second, {count} a round, median of {ROUNDS} (lowest to highest)");
    for (name, [lowest, median, highest]) in [
        ("identity import", command),
        ("ImportUsers, 4 callers", calls),
        ("one statement of the database", statement),
    ] {
        let share = median / statement[1];
        println!("{name:<30} {median:>8.0} ({lowest:.0} to {highest:.0}), {share:.2} of the statement");
    }
    let figure = |[lowest, median, highest]: [f64; 3]| json!({ "lowest": lowest, "median": median, "highest": highest });
    json!({
        "database": database,
        "users": count,
        "command_per_second": figure(command),
        "calls_per_second": figure(calls),
        "statement_per_second": figure(statement),
    })
}

fn rate(count: usize, seconds: f64) -> f64 {
    count as f64 / seconds
}

fn spread(mut rates: Vec<f64>) -> [f64; 3] {
    rates.sort_by(f64::total_cmp);
    [rates[0], rates[ROUNDS / 2], rates[ROUNDS - 1]]
}

fn by_command(url: &str, directory: &Path, count: usize, round: usize) -> f64 {
    let mut lines = String::new();
    for number in 0..count {
        let _ = writeln!(
            lines,
            "{{\"email\":\"file{round}-{number}@example.com\",\"full_name\":\"Ada Lovelace\",\"password_hash\":\"{HASH}\"}}"
        );
    }
    let file = directory.join("users.jsonl");
    std::fs::write(&file, lines).expect("the file");
    let begun = Instant::now();
    run(url, directory, &["import", file.to_str().expect("a path")]);
    begun.elapsed().as_secs_f64()
}

async fn by_calls(address: SocketAddr, count: usize, round: usize) -> f64 {
    let begun = Instant::now();
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            tokio::spawn(async move {
                let channel = channel(address);
                for batch in (caller..count / PER_CALL).step_by(CALLERS) {
                    let users =
                        (0..PER_CALL).map(|number| user(&format!("call{round}-{batch}"), number));
                    call(&channel, users.collect()).await.expect("an import");
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.expect("a caller");
    }
    begun.elapsed().as_secs_f64()
}

/// Times the database at making as many rows by itself.
async fn by_statement(url: &str, count: usize, round: usize) -> f64 {
    let columns = "users (id, email, email_normalized, full_name, password_hash, auth_provider)";
    let (id, series) = if url.starts_with("sqlite") {
        let series = format!(
            "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) SELECT i FROM n)"
        );
        ("randomblob(16)", series)
    } else {
        (
            "gen_random_uuid()",
            format!("generate_series(1, {count}) AS n(i)"),
        )
    };
    let email = format!("'row{round}-' || i || '@example.com'");
    let statement = format!(
        "INSERT INTO {columns} SELECT {id}, {email}, {email}, 'Ada Lovelace', '{HASH}', 'password' FROM {series}"
    );
    let begun = Instant::now();
    if url.starts_with("sqlite") {
        support::sql::execute_on_sqlite(url, &statement)
            .await
            .expect("the statement");
    } else {
        support::sql::query_postgres(url, &statement)
            .await
            .expect("the statement");
    }
    begun.elapsed().as_secs_f64()
}

fn user(prefix: &str, number: usize) -> ImportedUser {
    ImportedUser {
        email: format!("{prefix}-{number}@example.com"),
        full_name: "Ada Lovelace".to_owned(),
        password_hash: HASH.to_owned(),
        ..ImportedUser::default()
    }
}

async fn call(channel: &Channel, users: Vec<ImportedUser>) -> Result<(), tonic::Status> {
    let request = ImportUsersRequest {
        users,
        ..ImportUsersRequest::default()
    };
    UserServiceClient::new(channel.clone())
        .import_users(request)
        .await
        .map(drop)
}

fn channel(address: SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}"));
    endpoint.expect("an address").connect_lazy()
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address")
}

fn program(url: &str, directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_identity"));
    command
        .current_dir(directory)
        .env_clear()
        .env("DATABASE_URL", url)
        .env("IDENTITY_MASTER_KEY", MASTER_KEY)
        .env("IDENTITY_AUTH", "off")
        .env("IDENTITY_LOG", "error")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

fn run(url: &str, directory: &Path, arguments: &[&str]) {
    let status = program(url, directory).args(arguments).status();
    assert!(status.expect("the program").success(), "{arguments:?}");
}

/// A server that ends with the bench.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
