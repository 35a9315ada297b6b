//! Clients that do not read what they have asked for.

use identity::proto::identity::v1::ListUsersRequest;
use prost::Message;
use tonic_health::pb::HealthCheckRequest;

use super::{CHECK, WATCH, check, open};
use crate::support::http2::{
    CANCEL, DATA, END_STREAM, HEADERS, Http2, INITIAL_WINDOW_SIZE, PING, RST_STREAM, WINDOW_UPDATE,
    frame,
};
use crate::support::{Behaviour, Test, TestServer, eventually, new_user, sqlite_only};

pub fn tests() -> Vec<Behaviour> {
    sqlite_only![
        x11_an_answer_that_is_not_taken_is_given_up,
        x11_a_small_answer_waits_in_the_connection,
        x11_a_stream_that_is_not_taken_is_given_up,
        x11_a_slow_reader_that_reads_is_served,
        x11_a_client_that_never_reads_is_cut,
    ]
}

/// A call whose answer can be long.
const LIST_USERS: &str = "/identity.v1.UserService/ListUsers";

const SEND_TIMEOUT: (&str, &str) = ("IDENTITY_SEND_TIMEOUT", "300ms");

/// Starts a server with users enough for a list of a few kilobytes.
async fn start(t: &Test) -> TestServer {
    let server = t.start_with(&[SEND_TIMEOUT]).await;
    for person in 0..10 {
        let email = format!("{person}@example.com");
        server.create(new_user().email(&email)).await.unwrap();
    }
    server
}

/// Without window for all of its bytes the answer waits in the server.
async fn assert_given_up(server: &TestServer, path: &str, message: &impl Message, window: u32) {
    let before = server.metric("identity_unread_answers_total").await;
    let settings = [(INITIAL_WINDOW_SIZE, window)];
    let mut client = Http2::connect_with(server.grpc_address(), &settings).await;
    let stream = client.call(path, message).await.unwrap();

    let end = client.end_of(stream).await;

    assert_eq!((end.kind, end.error_code()), (RST_STREAM, CANCEL));
    assert_eq!(server.metric("identity_unread_answers_total").await, before + 1.0);
    // The connection is as good as before for calls that are taken.
    let next = client.call(CHECK, &HealthCheckRequest::default()).await.unwrap();
    client
        .send(WINDOW_UPDATE, 0, next, &1000_u32.to_be_bytes())
        .await
        .unwrap();
    assert_eq!(client.end_of(next).await.kind, HEADERS);
}

async fn x11_an_answer_that_is_not_taken_is_given_up(t: Test) {
    let server = start(&t).await;
    assert_given_up(&server, CHECK, &HealthCheckRequest::default(), 0).await;
    for window in [0, 1, 1000] {
        assert_given_up(&server, LIST_USERS, &ListUsersRequest::default(), window).await;
    }
}

async fn x11_a_small_answer_waits_in_the_connection(t: Test) {
    let server = start(&t).await;
    let settings = [(INITIAL_WINDOW_SIZE, 1)];
    let mut client = Http2::connect_with(server.grpc_address(), &settings).await;
    let first = client.call(CHECK, &HealthCheckRequest::default()).await.unwrap();
    client
        .wait_for(|frame| frame.stream == first && frame.kind == DATA)
        .await;
    // Longer than the server waits for a client that takes nothing.
    let unread = client
        .call(LIST_USERS, &ListUsersRequest::default())
        .await
        .unwrap();
    let cut = client.end_of(unread).await;
    assert_eq!((cut.kind, cut.error_code()), (RST_STREAM, CANCEL));

    client
        .send(WINDOW_UPDATE, 0, first, &1000_u32.to_be_bytes())
        .await
        .unwrap();
    assert_eq!(client.end_of(first).await.kind, HEADERS);
}

async fn x11_a_stream_that_is_not_taken_is_given_up(t: Test) {
    let server = start(&t).await;
    assert_given_up(&server, WATCH, &HealthCheckRequest::default(), 0).await;
}

async fn x11_a_slow_reader_that_reads_is_served(t: Test) {
    let server = t.start_with(&[("IDENTITY_SEND_TIMEOUT", "5s")]).await;
    let mut client = Http2::connect_with(server.grpc_address(), &[(INITIAL_WINDOW_SIZE, 0)]).await;
    let stream = client.call(CHECK, &HealthCheckRequest::default()).await.unwrap();
    let mut taken = 0;
    loop {
        client
            .send(WINDOW_UPDATE, 0, stream, &1_u32.to_be_bytes())
            .await
            .unwrap();
        let next = client
            .wait_for(|frame| frame.stream == stream && matches!(frame.kind, DATA | HEADERS))
            .await;
        if next.kind == DATA {
            taken += next.payload.len();
        } else if next.flags & END_STREAM != 0 {
            break;
        }
    }
    // A message of two bytes and its header.
    assert_eq!(taken, 7);
}

async fn x11_a_client_that_never_reads_is_cut(t: Test) {
    let server = t.start_with(&[SEND_TIMEOUT]).await;
    let mut client = Http2::connect(server.grpc_address()).await;
    let pings = frame(PING, 0, 0, &[0; 8]).repeat(1000);

    // The answers fill every buffer between, and then nothing is read any more.
    while client.write(&pings).await.is_ok() {}

    eventually("the connection is gone", async || open(&server).await <= 1).await;
    check(&mut Http2::connect(server.grpc_address()).await).await;
}
