//! How fast users come in who bring the hashes of their passwords along.
//!
//! `cargo bench --bench imports` imports users into embedded SQLite and into a PostgreSQL server of its own: with
//! `identity import`, and with ImportUsers from four callers at the same time, next to one statement that makes as many
//! rows of `users` without looking at anything. `IDENTITY_BENCH_USERS` says how many users a round has (20,000 unless
//! set). Callers, server and database share the cores of one machine; rounds alternate, and medians are printed with the
//! lowest and the highest. The results are written to `target/bench-results/imports.json`.

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

use std::fmt::Write as _;
use std::time::Instant;

use identity::proto::identity::v1::user_service_client::UserServiceClient;
use identity::proto::identity::v1::{ImportUsersRequest, ImportedUser};
use support::databases::Kind;
use support::{Database, Report, Server, on_each_database, ratios, roles, settings};

const USERS: usize = 20_000;
const CALLERS: usize = 4;
const PER_CALL: usize = 1_000;
/// Of a password that nobody has to know.
const HASH: &str = "$2b$12$DDWak9F6xAsxi1.ksxzYiuvqsQqenw9AMsldvYR.EBDzdD02B96US";

fn main() {
    roles::run(async {
        let mut report = Report::new("imports");
        on_each_database(async |database| measure(&mut report, &database).await).await;
        report.finish();
    });
}

async fn measure(report: &mut Report, database: &Database) {
    let count: usize = settings::number("IDENTITY_BENCH_USERS", USERS);
    let server = Server::start(database, &[]).await;
    let (mut command, mut calls, mut statement) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..settings::rounds() {
        command.push(count as f64 / by_command(database, count, round));
        calls.push(count as f64 / by_calls(&server, count, round).await);
        statement.push(count as f64 / by_statement(database, count, round).await);
    }
    drop(server);
    let (name, case) = (database.name(), format!("{count} a round"));
    report.measure("identity import", name, &case, "users/s", &command);
    report.measure("ImportUsers, 4 callers", name, &case, "users/s", &calls);
    report.measure(
        "one statement of the database",
        name,
        &case,
        "users/s",
        &statement,
    );
    let by_command_ratio = ratios(&command, &statement);
    report.figure(
        "identity import ÷ one statement",
        name,
        &case,
        "",
        &by_command_ratio,
        None,
    );
    let by_calls_ratio = ratios(&calls, &statement);
    report.figure(
        "ImportUsers, 4 callers ÷ one statement",
        name,
        &case,
        "",
        &by_calls_ratio,
        None,
    );
}

fn by_command(database: &Database, count: usize, round: usize) -> f64 {
    let mut lines = String::new();
    for number in 0..count {
        let _ = writeln!(
            lines,
            "{{\"email\":\"file{round}-{number}@example.com\",\"full_name\":\"Ada Lovelace\",\"password_hash\":\"{HASH}\"}}"
        );
    }
    let file = database.directory.join("users.jsonl");
    std::fs::write(&file, lines).expect("the file");
    let begin = Instant::now();
    database.run(&["import", file.to_str().expect("a path")]);
    begin.elapsed().as_secs_f64()
}

async fn by_calls(server: &Server, count: usize, round: usize) -> f64 {
    let begin = Instant::now();
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let (channel, credential) = (server.channel(), server.credential());
            tokio::spawn(async move {
                for batch in (caller..count / PER_CALL).step_by(CALLERS) {
                    let prefix = format!("call{round}-{batch}");
                    let request = ImportUsersRequest {
                        users: (0..PER_CALL).map(|number| user(&prefix, number)).collect(),
                        ..ImportUsersRequest::default()
                    };
                    let mut users = UserServiceClient::new(channel.clone());
                    let imported = users.import_users(credential.request(request)).await;
                    imported.expect("an import");
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.expect("a caller");
    }
    begin.elapsed().as_secs_f64()
}

/// Times the database at making as many rows by itself.
async fn by_statement(database: &Database, count: usize, round: usize) -> f64 {
    let columns = "users (id, email, email_normalized, full_name, password_hash, auth_provider)";
    let (id, series) = match database.kind {
        Kind::Sqlite => (
            "randomblob(16)",
            format!(
                "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) SELECT i FROM n)"
            ),
        ),
        Kind::Postgres => (
            "gen_random_uuid()",
            format!("generate_series(1, {count}) AS n(i)"),
        ),
    };
    let email = format!("'row{round}-' || i || '@example.com'");
    let statement = format!(
        "INSERT INTO {columns} SELECT {id}, {email}, {email}, 'Ada Lovelace', '{HASH}', 'password' FROM {series}"
    );
    let begin = Instant::now();
    database.execute(&statement).await;
    begin.elapsed().as_secs_f64()
}

fn user(prefix: &str, number: usize) -> ImportedUser {
    ImportedUser {
        email: format!("{prefix}-{number}@example.com"),
        full_name: "Ada Lovelace".to_owned(),
        password_hash: HASH.to_owned(),
        ..ImportedUser::default()
    }
}
