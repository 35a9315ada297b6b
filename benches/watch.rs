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
//! Load, servers and database share the cores of one machine. The results are written to
//! `target/bench-results/watch.json`.

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

use identity::proto::identity::v1::user_service_client::UserServiceClient;
use identity::proto::identity::v1::watch_users_request::Start;
use identity::proto::identity::v1::watch_users_response::Content;
use identity::proto::identity::v1::{
    CreateUserRequest, UpdateUserRequest, User, WatchStart, WatchUsersRequest, WatchUsersResponse,
};
use support::latencies::Latencies;
use support::{Database, Report, Server, on_each_database, processes, roles, settings};
use tokio::task::JoinHandle;
use tonic::Streaming;
use tonic::transport::Channel;

/// Changes of each measurement: enough that one in a hundred is several.
const CHANGES: usize = 500;
/// Between two changes, so that one does not wait for the other.
const PAUSE: Duration = Duration::from_millis(10);
/// How long an idle server is looked at: several checkpoints.
const IDLE: Duration = Duration::from_secs(25);
/// Who watches while nothing happens.
const WATCHERS: usize = 1000;
/// Streams of one connection, fewer than the server allows.
const PER_CONNECTION: usize = 100;

fn main() {
    roles::run(async {
        let mut report = Report::new("watch");
        on_each_database(async |database| measure(&mut report, &database).await).await;
        report.finish();
    });
}

async fn measure(report: &mut Report, database: &Database) {
    let server = Server::start(database, &[]).await;
    let other = Server::start(database, &[]).await;
    let ada = create(&server).await;
    for (name, watched, watchers) in [
        ("same server", &server, 1),
        ("same server", &server, 100),
        ("other server", &other, 1),
    ] {
        let latencies = delay(&server, watched, &ada, watchers).await;
        let case = format!("{name}, {watchers} watching");
        for percentile in [50.0, 99.0] {
            let value = latencies.percentile(percentile);
            report.measure(
                &format!("delay of a change p{percentile}"),
                database.name(),
                &case,
                "ms",
                &[value],
            );
        }
        report.curve("delay of a change", database.name(), &case, &latencies);
    }
    drop(other);
    idle(report, database, &server).await;
}

/// Returns how long after the answers to changes their messages were read.
async fn delay(server: &Server, watched: &Server, ada: &User, watchers: usize) -> Latencies {
    let mut readers: Vec<JoinHandle<Vec<Instant>>> = Vec::new();
    let channel = watched.channel();
    for _ in 0..watchers {
        let mut stream = watch(watched, &channel).await;
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
        users
            .update_user(server.request(request))
            .await
            .expect("the change");
        answers.push(Instant::now());
        tokio::time::sleep(PAUSE).await;
    }
    let mut latencies = Latencies::default();
    for reader in readers {
        for (read, answered) in reader.await.expect("the times").iter().zip(&answers) {
            latencies.record(read.duration_since(*answered));
        }
    }
    latencies
}

/// Looks at what it costs that many watch while nothing happens.
async fn idle(report: &mut Report, database: &Database, server: &Server) {
    let count = settings::number("IDENTITY_BENCH_IDLE", WATCHERS);
    let memory = server.resident_mebibytes();
    let share = share_of_a_core(server).await;
    let (name, case) = (database.name(), "nobody watching");
    report.measure("resident memory", name, case, "MiB", &[memory]);
    report.measure("share of a core", name, case, "%", &[share * 100.0]);
    let mut readers = Vec::new();
    let mut channel = server.channel();
    for number in 0..count {
        if number % PER_CONNECTION == 0 {
            channel = server.channel();
        }
        let mut stream = watch(server, &channel).await;
        readers.push(tokio::spawn(async move {
            while stream.message().await.expect("a message").is_some() {}
        }));
    }
    let watched = format!("{count} watching");
    let watched_share = share_of_a_core(server).await;
    report.measure("share of a core", name, &watched, "%", &[watched_share * 100.0]);
    report.measure(
        "resident memory",
        name,
        &watched,
        "MiB",
        &[server.resident_mebibytes()],
    );
    for reader in readers {
        assert!(!reader.is_finished(), "a watch has ended");
        reader.abort();
    }
}

/// Looks at a server for a while. Returns how much of a core it used.
async fn share_of_a_core(server: &Server) -> f64 {
    let (before, begin) = (processes::processor_seconds(server.id()), Instant::now());
    tokio::time::sleep(IDLE).await;
    (processes::processor_seconds(server.id()) - before) / begin.elapsed().as_secs_f64()
}

/// Begins to watch, and waits until it is known to.
async fn watch(server: &Server, channel: &Channel) -> Streaming<WatchUsersResponse> {
    // No deadline: it would end the stream.
    let mut request = server.request(WatchUsersRequest {
        start: Some(Start::StartAt(WatchStart::Now.into())),
        ..WatchUsersRequest::default()
    });
    request.metadata_mut().remove("grpc-timeout");
    let response = UserServiceClient::new(channel.clone()).watch_users(request).await;
    let mut stream = response.expect("a stream").into_inner();
    stream.message().await.expect("a checkpoint").expect("no end");
    stream
}

async fn create(server: &Server) -> User {
    let request = CreateUserRequest {
        user: Some(User {
            email: "ada@example.com".to_owned(),
            ..User::default()
        }),
        ..CreateUserRequest::default()
    };
    let created = UserServiceClient::new(server.channel())
        .create_user(server.request(request))
        .await;
    created.expect("a user").into_inner().user.expect("the user")
}
