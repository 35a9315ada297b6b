//! How the server ends, whatever its clients do.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::{CHECK, check, watch};
use crate::faults::blocker::Blocker;
use crate::faults::one_has_begun;
use crate::support::http2::{GOAWAY, Http2, INITIAL_WINDOW_SIZE, NO_ERROR, PREFACE};
use crate::support::{Behaviour, Process, Test, behaviours, new_user, sqlite_only};

pub fn tests() -> Vec<Behaviour> {
    [
        sqlite_only![
            o02_idle_and_silent_connections_do_not_hold_up_the_end,
            o02_a_watch_hears_of_the_end_and_ends,
            o02_a_stream_without_news_ends_before_the_drain_does,
            o02_a_client_that_never_reads_does_not_hold_up_the_end,
            o02_every_connection_is_told_to_go,
            o01_the_health_goes_down_before_calls_are_refused,
        ],
        behaviours![
            o01_running_calls_finish,
            o02_a_stuck_handler_is_ended_with_the_drain,
        ],
    ]
    .concat()
}

/// Longer than a test waits for the end of a process.
const LONG_DRAIN: (&str, &str) = ("IDENTITY_DRAIN_TIME", "1h");

async fn assert_ends_well(mut server: Process) {
    server.terminate();
    let status = server.wait().await;
    assert_eq!(status.code(), Some(0), "{}", server.output());
}

async fn o02_idle_and_silent_connections_do_not_hold_up_the_end(t: Test) {
    let mut server = t.spawn(&[LONG_DRAIN], &["serve"]);
    server.wait_until_serving().await;
    let address = server.grpc_address();
    let silent = TcpStream::connect(address).await.unwrap();
    let mut half = TcpStream::connect(address).await.unwrap();
    half.write_all(&PREFACE[..10]).await.unwrap();
    // Answers neither settings nor pings.
    let mut mute = Http2::connect(address).await;
    mute.next_unanswered().await.unwrap();
    let mut idle = Http2::connect(address).await;
    check(&mut idle).await;

    assert_ends_well(server).await;

    drop((silent, half, mute, idle));
}

async fn o02_a_watch_hears_of_the_end_and_ends(t: Test) {
    let mut server = t.spawn(&[LONG_DRAIN], &["serve"]);
    server.wait_until_serving().await;
    let mut streams = Vec::new();
    for service in ["", "identity.v1.UserService", "liveness", "nope"] {
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        let mut stream = server.health().watch(request).await.unwrap().into_inner();
        stream.message().await.unwrap().expect("the first message");
        streams.push(stream);
    }

    assert_ends_well(server).await;

    for (number, stream) in streams.iter_mut().enumerate() {
        if number < 2 {
            let last: Option<HealthCheckResponse> = stream.message().await.unwrap();
            assert_eq!(last.expect("a message").status(), ServingStatus::NotServing);
        }
        assert_eq!(stream.message().await.unwrap(), None);
    }
}

/// Reflection answers as long as it is asked.
async fn o02_a_stream_without_news_ends_before_the_drain_does(t: Test) {
    const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    let server = t.start_with(&[("IDENTITY_DRAIN_TIME", "2s")]).await;
    let mut codec = tonic::client::Grpc::new(server.channel());
    codec.ready().await.unwrap();
    let questions = tokio_stream::pending::<HealthCheckRequest>();
    let answers = codec
        .streaming(
            tonic::Request::new(questions),
            REFLECTION.parse().unwrap(),
            tonic_prost::ProstCodec::<HealthCheckRequest, HealthCheckResponse>::default(),
        )
        .await
        .unwrap();
    let mut answers = answers.into_inner();

    let ((), end) = tokio::join!(server.shutdown(), answers.message());

    let status = end.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert_eq!(
        status.message(),
        "the server is ending; call again to reach another one"
    );
}

async fn o02_a_client_that_never_reads_does_not_hold_up_the_end(t: Test) {
    let mut server = t.spawn(&[("IDENTITY_DRAIN_TIME", "1s")], &["serve"]);
    server.wait_until_serving().await;
    let mut client = Http2::connect_with(server.grpc_address(), &[(INITIAL_WINDOW_SIZE, 0)]).await;
    for _ in 0..10 {
        client.call(CHECK, &HealthCheckRequest::default()).await.unwrap();
    }
    client.next().await.unwrap();

    assert_ends_well(server).await;
}

async fn o02_every_connection_is_told_to_go(t: Test) {
    let server = t.start().await;
    let mut idle = Http2::connect(server.grpc_address()).await;
    check(&mut idle).await;
    let mut watching = Http2::connect(server.grpc_address()).await;
    let stream = watch(&mut watching).await;
    let mut silent = TcpStream::connect(server.grpc_address()).await.unwrap();

    let mut nothing = Vec::new();
    let ((), told, end, silence) = tokio::join!(
        server.shutdown(),
        idle.wait_for(|frame| frame.kind == GOAWAY),
        watching.end_of(stream),
        silent.read_to_end(&mut nothing),
    );

    assert_eq!(told.error_code(), NO_ERROR);
    assert_eq!(end.stream, stream);
    assert_eq!(silence.unwrap_or(0), 0);
}

async fn o01_the_health_goes_down_before_calls_are_refused(t: Test) {
    let server = t.start_with(&[("IDENTITY_DRAIN_GRACE", "30s")]).await;
    let ada = server.create_user("ada@example.com").await;
    let clients = (*server).clone();
    let ending = tokio::spawn(server.shutdown());

    clients.wait_until_not_serving().await;

    // Calls and connections are taken as before.
    assert_eq!(clients.get(&ada.id).await.unwrap(), ada);
    check(&mut Http2::connect(clients.grpc_address()).await).await;
    ending.abort();
}

async fn o01_running_calls_finish(t: Test) {
    const CALLS: usize = 8;
    let mut server = t.spawn(
        &[
            ("IDENTITY_DATABASE_LOCK_TIMEOUT", "60s"),
            ("IDENTITY_DATABASE_STATEMENT_TIMEOUT", "60s"),
            ("IDENTITY_DATABASE_BUSY_TIMEOUT", "60s"),
            ("IDENTITY_MAX_DEADLINE", "60s"),
            ("IDENTITY_DRAIN_TIME", "60s"),
        ],
        &["serve"],
    );
    server.wait_until_serving().await;
    server.wait_until_settled().await;
    let blocker = Blocker::of_users(&t).await;
    let clients = (*server).clone();
    let calls = (0..CALLS).map(|number| {
        let clients = clients.clone();
        tokio::spawn(async move {
            let user = new_user().email(&format!("ada{number}@example.com"));
            clients.create(user).await
        })
    });
    let calls: Vec<_> = calls.collect();
    let mut idle = Http2::connect(server.grpc_address()).await;
    check(&mut idle).await;
    one_has_begun(&clients).await;

    server.terminate();
    idle.wait_for(|frame| frame.kind == GOAWAY).await;
    blocker.release().await;

    for outcome in join_all(calls).await {
        outcome.unwrap().unwrap();
    }
    assert_eq!(server.wait().await.code(), Some(0), "{}", server.output());
    let count = t.sql_value("SELECT count(*) AS value FROM users").await;
    assert_eq!(count, Some(CALLS.to_string()));
}

async fn o02_a_stuck_handler_is_ended_with_the_drain(t: Test) {
    let mut server = t.spawn(
        &[
            ("IDENTITY_DATABASE_LOCK_TIMEOUT", "1h"),
            ("IDENTITY_DATABASE_STATEMENT_TIMEOUT", "1h"),
            ("IDENTITY_DATABASE_BUSY_TIMEOUT", "1h"),
            ("IDENTITY_MAX_DEADLINE", "1h"),
            ("IDENTITY_DRAIN_TIME", "500ms"),
        ],
        &["serve"],
    );
    server.wait_until_serving().await;
    server.wait_until_settled().await;
    let blocker = Blocker::of_users(&t).await;
    let clients = (*server).clone();
    let stuck = tokio::spawn(async move { clients.create(new_user().email("ada@example.com")).await });
    one_has_begun(&server).await;

    assert_ends_well(server).await;

    assert!(tokio::time::timeout(Duration::from_secs(30), stuck).await.is_ok());
    blocker.release().await;
}
