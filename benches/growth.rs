//! Whether calls cost with a million users what they cost with ten thousand.
//!
//! `cargo bench --bench growth` fills a database of embedded SQLite for each size, and then databases of a PostgreSQL of
//! its own, and starts a server on each. GetUser and LookupUser of users at random, a page of ListUsers after another,
//! and sign-ins (at cost 4, so that what is left is the bookkeeping) are measured in rounds that alternate between the
//! sizes; the figures are the rates at the larger sizes next to those at the smallest.
//!
//! Next to them stands what the database makes of it by itself: how often it finds a user by the id over as many
//! connections, and what a server would show that did nothing but that after an empty call.
//!
//! `IDENTITY_BENCH_GROWTH_USERS` has the sizes (`10000,1000000` unless set; `10000,1000000,10000000` takes another
//! quarter of an hour and 12 GB of the disk). The servers hold in memory what they please. Whatever else there is of a
//! database is in the machine's own cache, for which its files are read before each round: how much of them a machine
//! keeps by itself is a matter of the machine, and a disk that is asked for a page is slower than anything measured here.
//!
//! The results are written to `target/bench-results/growth.json`. A run takes about seven minutes;
//! `IDENTITY_BENCH_ROUNDS=1 IDENTITY_BENCH_ROUND_SECONDS=1 IDENTITY_BENCH_GROWTH_USERS=1000,100000` makes it a short one.

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

use std::sync::Arc;
use std::time::{Duration, Instant};

use identity::proto::identity::v1::lookup_user_request::Identifier;
use identity::proto::identity::v1::user_service_client::UserServiceClient;
use identity::proto::identity::v1::{ListUsersRequest, LookupUserRequest};
use support::limits::{self, no_op};
use support::server::{Credential, DEADLINE};
use support::{
    Answer, Database, Report, Server, Turn, closed_loop, on_each_database, people, population, ratios,
    roles, settings, targets,
};
use tokio::sync::Mutex;
use tonic::transport::Channel;

const ROUND_SECONDS: f64 = 3.0;
/// Long enough for the upper levels of the indexes to be in memory.
const WARM_UP: Duration = Duration::from_secs(1);
const SIZES: [usize; 2] = [10_000, 1_000_000];
const IN_FLIGHT: usize = 32;
/// Nothing here is about hashing.
const COST: u32 = 4;
const SELECT: &str = "SELECT of the database alone";
const IN_SERIES: &str = "a no-op RPC and a SELECT of the database alone, one after the other";

#[derive(Debug, Clone, Copy, PartialEq)]
enum Call {
    GetUser,
    LookupUser,
    ListUsers,
    SignIn,
}

impl Call {
    const ALL: [Self; 4] = [Self::GetUser, Self::LookupUser, Self::ListUsers, Self::SignIn];

    const fn name(self) -> &'static str {
        match self {
            Self::GetUser => "GetUser",
            Self::LookupUser => "LookupUser",
            Self::ListUsers => "a page of ListUsers",
            Self::SignIn => "sign-in bookkeeping",
        }
    }
}

/// A server and how many users it has.
struct Town {
    users: usize,
    database: Database,
    server: Server,
    caller: Caller,
}

#[derive(Clone)]
struct Caller {
    users: usize,
    channel: Channel,
    credential: Credential,
    /// Where each caller is in the list.
    pages: Arc<Vec<Mutex<String>>>,
}

fn main() {
    roles::run(async {
        let mut report = Report::new("growth");
        on_each_database(async |database| measure(&mut report, &database).await).await;
        report.finish();
    });
}

async fn measure(report: &mut Report, database: &Database) {
    let mut towns = Vec::new();
    for users in settings::numbers("IDENTITY_BENCH_GROWTH_USERS", SIZES.to_vec()) {
        towns.push(settle(report, database, users).await);
    }
    let span = settings::round(ROUND_SECONDS);
    for call in Call::ALL {
        let mut rates = vec![Vec::new(); towns.len()];
        for _ in 0..settings::rounds() {
            for (town, own) in towns.iter().zip(&mut rates) {
                town.database.read_files().await;
                let caller = town.caller.clone();
                let load = closed_loop(IN_FLIGHT, WARM_UP, span, move |turn| {
                    make(caller.clone(), call, turn)
                });
                own.push(load.await.all_good().rate());
            }
        }
        for (town, values) in towns.iter().zip(&rates) {
            let case = format!("{} users", town.users);
            report.measure(call.name(), database.name(), &case, "calls/s", values);
        }
        for (town, values) in towns.iter().zip(&rates).skip(1) {
            let figure = format!("{} ÷ at {} users", call.name(), towns[0].users);
            let case = format!("{} users", town.users);
            let target = (town.users == SIZES[1]).then_some(targets::GROWTH);
            report.figure(
                &figure,
                database.name(),
                &case,
                "",
                &ratios(values, &rates[0]),
                target,
            );
        }
    }
    compare_alone(report, database, &towns).await;
    for town in &towns {
        let case = format!("{} users", town.users);
        let memory = town.server.resident_mebibytes();
        report.measure("resident memory", database.name(), &case, "MiB", &[memory]);
    }
}

/// Measures the database without a server, and an empty call without a database.
async fn compare_alone(report: &mut Report, database: &Database, towns: &[Town]) {
    let span = settings::round(ROUND_SECONDS);
    let no_op = no_op::start();
    let (mut no_ops, mut selects) = (Vec::new(), vec![Vec::new(); towns.len()]);
    for _ in 0..settings::rounds() {
        let channel = no_op.channel();
        let load = closed_loop(IN_FLIGHT, WARM_UP, span, move |_| {
            no_op::call(channel.clone(), DEADLINE)
        });
        no_ops.push(load.await.all_good().rate());
        for (town, own) in towns.iter().zip(&mut selects) {
            town.database.read_files().await;
            own.push(limits::selects_per_second(&town.database, town.users, IN_FLIGHT, span).await);
        }
    }
    report.measure(
        "no-op RPC",
        database.name(),
        &format!("{IN_FLIGHT} in flight"),
        "calls/s",
        &no_ops,
    );
    for (town, values) in towns.iter().zip(&selects) {
        let case = format!("{} users", town.users);
        report.measure(SELECT, database.name(), &case, "queries/s", values);
    }
    let in_series = |rates: &[f64]| -> Vec<f64> {
        let rounds = no_ops.iter().zip(rates);
        rounds
            .map(|(empty, select)| 1.0 / (1.0 / empty + 1.0 / select))
            .collect()
    };
    let (least, first) = (towns[0].users, &selects[0]);
    for (town, values) in towns.iter().zip(&selects).skip(1) {
        let case = format!("{} users", town.users);
        let alone = ratios(values, first);
        let after_no_op = ratios(&in_series(values), &in_series(first));
        for (what, found) in [(SELECT, alone), (IN_SERIES, after_no_op)] {
            let figure = format!("{what} ÷ at {least} users");
            report.figure(&figure, database.name(), &case, "", &found, None);
        }
    }
}

async fn settle(report: &mut Report, database: &Database, users: usize) -> Town {
    let own = database.another(&format!("town_{users}")).await;
    own.run(&["migrate", "up"]);
    let begin = Instant::now();
    people::settle(&own, users, COST).await;
    let case = format!("{users} users");
    let seconds = begin.elapsed().as_secs_f64();
    report.measure("time to fill the database", own.name(), &case, "s", &[seconds]);
    let cost = COST.to_string();
    let server = Server::start(&own, &[("IDENTITY_BCRYPT_COST", &cost)]).await;
    let caller = Caller {
        users,
        channel: server.channel(),
        credential: server.credential(),
        pages: Arc::new((0..IN_FLIGHT).map(|_| Mutex::default()).collect()),
    };
    Town {
        users,
        database: own,
        server,
        caller,
    }
}

async fn make(caller: Caller, call: Call, turn: Turn) -> Answer {
    let Caller {
        users,
        channel,
        credential,
        pages,
    } = caller;
    let user = turn.pick(users);
    match call {
        Call::GetUser => people::get_user(channel, credential, user).await,
        Call::LookupUser => {
            let request = credential.request(LookupUserRequest {
                identifier: Some(Identifier::Email(population::email(user))),
            });
            UserServiceClient::new(channel)
                .lookup_user(request)
                .await
                .map(drop)
                .into()
        }
        Call::ListUsers => {
            // Nobody else reads this list: the lock is there for the compiler.
            let mut page = pages[turn.caller].lock().await;
            let request = credential.request(ListUsersRequest {
                page_token: page.clone(),
                ..ListUsersRequest::default()
            });
            let answer = UserServiceClient::new(channel).list_users(request).await;
            answer
                .map(|answer| *page = answer.into_inner().next_page_token)
                .into()
        }
        Call::SignIn => people::sign_in(channel, &credential, user, DEADLINE)
            .await
            .map(drop)
            .into(),
    }
}
