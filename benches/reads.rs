//! How fast users are read and tokens looked at, next to a call that does nothing.
//!
//! `cargo bench --bench reads` starts the server as it is released, first on embedded SQLite and then on a PostgreSQL of
//! its own, with all of its layers: callers show the token of a service that may read users and ask about tokens, and
//! name a deadline. Measured are GetUser, LookupUser, GetMe with a user's token, and IntrospectToken, which looks whether
//! the session has been revoked, at 1, 8 and 32 calls in flight. Next to them stand a bare server of the same stack with
//! one empty method, the health check of the liveness name, which passes through the layers and asks nothing, and
//! what the database finds by itself over as many connections. GetUser is measured at 128 in flight as well, for how
//! much longer the slowest calls take than others; that load is made on half of the cores, as its own threads would wait
//! for each other's.
//!
//! Rounds alternate; load, server and database share the cores of one machine, so the ratios say more than the rates.
//! The results are written to `target/bench-results/reads.json`. A run takes about ten minutes;
//! `IDENTITY_BENCH_ROUNDS=1 IDENTITY_BENCH_ROUND_SECONDS=0.5` makes it a short one.

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
use std::time::Duration;

use identity::proto::grpc::health::v1::health_client::HealthClient;
use identity::proto::identity::v1::auth_service_client::AuthServiceClient;
use identity::proto::identity::v1::lookup_user_request::Identifier;
use identity::proto::identity::v1::user_service_client::UserServiceClient;
use identity::proto::identity::v1::{GetMeRequest, IntrospectTokenRequest, LookupUserRequest};
use support::databases::Kind;
use support::limits::{self, no_op};
use support::server::{Credential, DEADLINE};
use support::{
    Answer, Database, Load, Report, Server, Turn, closed_loop, on_each_database, people, population,
    ratios, roles, settings, targets,
};
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;

/// Enough for the slowest case to make a thousand calls.
const ROUND_SECONDS: f64 = 2.0;
/// Long enough for connections to be made and caches to be warm.
const WARM_UP: Duration = Duration::from_millis(200);
/// The calls that are in flight at the same time.
const IN_FLIGHT: [usize; 3] = [1, 8, 32];
/// Calls in flight when it is looked at how much longer the slowest ones take.
const CROWD: usize = 128;
/// Calls of one connection.
const PER_CONNECTION: usize = 32;
/// The users that are read, at random.
const USERS: usize = 10_000;
/// The users who are signed in.
const SIGNED_IN: usize = 64;
/// Nothing here is about hashing.
const COST: u32 = 4;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Call {
    NoOp,
    Liveness,
    GetUser,
    LookupUser,
    GetMe,
    IntrospectToken,
}

impl Call {
    const ALL: [Self; 6] = [
        Self::NoOp,
        Self::Liveness,
        Self::GetUser,
        Self::LookupUser,
        Self::GetMe,
        Self::IntrospectToken,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::NoOp => "no-op RPC",
            Self::Liveness => "health of the liveness name",
            Self::GetUser => "GetUser",
            Self::LookupUser => "LookupUser",
            Self::GetMe => "GetMe",
            Self::IntrospectToken => "IntrospectToken",
        }
    }
}

/// Whom calls are made to, and by whom.
#[derive(Clone)]
struct Callers {
    no_op: Vec<Channel>,
    server: Vec<Channel>,
    service: Credential,
    people: Arc<Vec<Person>>,
}

struct Person {
    access_token: String,
    credential: Credential,
}

fn main() {
    roles::run(async {
        let mut report = Report::new("reads");
        on_each_database(async |database| measure(&mut report, &database).await).await;
        report.finish();
    });
}

async fn measure(report: &mut Report, database: &Database) {
    let cost = COST.to_string();
    let server = Server::start(database, &[("IDENTITY_BCRYPT_COST", &cost)]).await;
    people::settle(database, USERS, COST).await;
    let no_op = no_op::start();
    let service = server
        .credential_for(database, &["users.read", "auth.introspect"])
        .await;
    let people = Arc::new(sign_in(&server).await);
    let connections = CROWD / PER_CONNECTION;
    let connect = || Callers {
        no_op: (0..connections).map(|_| no_op.channel()).collect(),
        server: (0..connections).map(|_| server.channel()).collect(),
        service: service.clone(),
        people: Arc::clone(&people),
    };
    let callers = connect();
    for in_flight in IN_FLIGHT {
        compare(report, database, &callers, in_flight).await;
    }
    look_at_the_tail(report, database, connect);
}

async fn sign_in(server: &Server) -> Vec<Person> {
    let (channel, credential) = (server.channel(), server.credential());
    let mut people = Vec::new();
    for user in 0..SIGNED_IN {
        let tokens = people::sign_in(channel.clone(), &credential, user, DEADLINE);
        let access_token = tokens.await.expect("tokens").access_token;
        people.push(Person {
            credential: Credential::of(&access_token),
            access_token,
        });
    }
    people
}

async fn compare(report: &mut Report, database: &Database, callers: &Callers, in_flight: usize) {
    let span = settings::round(ROUND_SECONDS);
    let mut rounds: Vec<Vec<Load>> = vec![Vec::new(); Call::ALL.len()];
    let mut selects = Vec::new();
    for _ in 0..settings::rounds() {
        for (call, loads) in Call::ALL.into_iter().zip(&mut rounds) {
            loads.push(round(callers, call, in_flight, span).await);
        }
        selects.push(limits::selects_per_second(database, USERS, in_flight, span).await);
    }
    let (name, case) = (database.name(), format!("{in_flight} in flight"));
    let rates = |call: Call| -> Vec<f64> {
        let index = Call::ALL.iter().position(|one| *one == call).expect("a call");
        rounds[index].iter().map(Load::rate).collect()
    };
    for (call, loads) in Call::ALL.into_iter().zip(&rounds) {
        report.measure(call.name(), name, &case, "calls/s", &rates(call));
        for percentile in [50.0, 99.0] {
            let values: Vec<f64> = loads
                .iter()
                .map(|load| load.good.percentile(percentile))
                .collect();
            report.measure(
                &format!("{} p{percentile}", call.name()),
                name,
                &case,
                "ms",
                &values,
            );
        }
    }
    report.measure("SELECT of the database alone", name, &case, "queries/s", &selects);
    let is_decisive = in_flight == IN_FLIGHT[IN_FLIGHT.len() - 1];
    let decisive = |target| is_decisive.then_some(target);
    let get_user = match database.kind {
        Kind::Sqlite => targets::GET_USER_TO_NO_OP_EMBEDDED,
        Kind::Postgres => targets::GET_USER_TO_NO_OP_POSTGRES,
    };
    for (one, other, target) in [
        (Call::GetUser, Call::NoOp, decisive(get_user)),
        (Call::LookupUser, Call::NoOp, None),
        (Call::GetMe, Call::GetUser, decisive(targets::GET_ME_TO_GET_USER)),
        (
            Call::IntrospectToken,
            Call::NoOp,
            decisive(targets::INTROSPECTION_TO_NO_OP),
        ),
        (Call::Liveness, Call::NoOp, None),
        (Call::GetUser, Call::Liveness, None),
    ] {
        let figure = format!("{} ÷ {}", one.name(), other.name());
        let values = ratios(&rates(one), &rates(other));
        report.figure(&figure, name, &case, "", &values, target);
    }
    let values = ratios(&rates(Call::GetUser), &selects);
    report.figure(
        "GetUser ÷ SELECT of the database alone",
        name,
        &case,
        "",
        &values,
        None,
    );
}

/// How much longer one call in a hundred takes than one in two, when more are made than can be served at once.
/// What a crowd has seen of one case.
#[derive(Default)]
struct Tails {
    no_op: Vec<f64>,
    get_user: Vec<f64>,
    calls: Load,
}

fn look_at_the_tail(report: &mut Report, database: &Database, connect: impl Fn() -> Callers) {
    let crowd = || {
        // A channel belongs to the runtime on which it is made.
        let runtime = roles::half_of_the_cores();
        runtime.block_on(async { tails(&connect()).await })
    };
    let Tails {
        no_op,
        get_user,
        calls,
    } = tokio::task::block_in_place(crowd);
    let (name, case) = (database.name(), format!("{CROWD} in flight"));
    report.figure(
        "p99 ÷ p50 of GetUser",
        name,
        &case,
        "",
        &get_user,
        Some(targets::TAIL),
    );
    report.figure("p99 ÷ p50 of the no-op RPC", name, &case, "", &no_op, None);
    report.curve("GetUser", name, &case, &calls.good);
}

async fn tails(callers: &Callers) -> Tails {
    let span = settings::round(ROUND_SECONDS);
    let mut tails = Tails::default();
    for _ in 0..settings::rounds() {
        let nothing = round(callers, Call::NoOp, CROWD, span).await.good;
        tails
            .no_op
            .push(nothing.percentile(99.0) / nothing.percentile(50.0));
        let load = round(callers, Call::GetUser, CROWD, span).await;
        tails
            .get_user
            .push(load.good.percentile(99.0) / load.good.percentile(50.0));
        tails.calls.add(&load);
    }
    tails
}

async fn round(callers: &Callers, call: Call, in_flight: usize, span: Duration) -> Load {
    let callers = callers.clone();
    let load = closed_loop(in_flight, WARM_UP, span, move |turn| {
        make(callers.clone(), call, turn)
    });
    load.await.all_good()
}

async fn make(callers: Callers, call: Call, turn: Turn) -> Answer {
    let connection = turn.caller / PER_CONNECTION;
    let channel = callers.server[connection].clone();
    let person = &callers.people[turn.pick(SIGNED_IN)];
    match call {
        Call::NoOp => no_op::call(callers.no_op[connection].clone(), DEADLINE).await,
        Call::Liveness => {
            let mut request = tonic::Request::new(HealthCheckRequest {
                service: identity::health::LIVENESS.to_owned(),
            });
            request.set_timeout(DEADLINE);
            HealthClient::new(channel).check(request).await.map(drop).into()
        }
        Call::GetUser => people::get_user(channel, callers.service, turn.pick(USERS)).await,
        Call::LookupUser => {
            let request = callers.service.request(LookupUserRequest {
                identifier: Some(Identifier::Email(population::email(turn.pick(USERS)))),
            });
            let answer = UserServiceClient::new(channel).lookup_user(request).await;
            answer.map(drop).into()
        }
        Call::GetMe => {
            let request = person.credential.request(GetMeRequest {});
            AuthServiceClient::new(channel)
                .get_me(request)
                .await
                .map(drop)
                .into()
        }
        Call::IntrospectToken => {
            let request = callers.service.request(IntrospectTokenRequest {
                token: person.access_token.clone(),
            });
            match AuthServiceClient::new(channel).introspect_token(request).await {
                Ok(answer) if answer.get_ref().active => Answer::Good,
                Ok(_) => Answer::Failed("the token is not active".to_owned()),
                Err(status) => Err(status).into(),
            }
        }
    }
}
