//! Deadlines, and passwords that wait to be hashed.

use std::time::Duration;

use futures_util::future::join_all;
use hyper_util::rt::{TokioExecutor, TokioIo};
use identity::proto::identity::v1::{CreateUserRequest, GetStatusRequest, GetUserRequest, User};
use prost::Message;
use tokio::net::TcpStream;
use tonic::body::Body;
use tonic::{Code, Status};

use super::calls::{PASSWORD, assert_failed, count, kind};
use crate::security::raw::frame;
use crate::support::{Behaviour, Clients, Failure, Test, behaviours, eventually, new_user};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        a_deadline_that_has_passed_is_answered_with_its_reason,
        no_time_at_all_is_not_enough_for_any_call,
        a_create_that_ends_by_its_deadline_leaves_nothing,
        the_server_has_a_limit_of_its_own,
        hashing_overload_is_refused_with_a_time_to_retry,
    ]
}

/// Calls a method with a `grpc-timeout` that only the server sees: the clients of tonic end such a call
/// themselves.
async fn call_with_timeout(
    clients: &Clients,
    method: &str,
    message: &impl Message,
    timeout: &str,
) -> Option<Failure> {
    let stream = TcpStream::connect(clients.grpc_address()).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    let connection = tokio::spawn(connection);
    let address = clients.grpc_address();
    let request = http::Request::post(format!("http://{address}/identity.v1.UserService/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", timeout)
        .body(Body::new(axum::body::Body::from(frame(&message.encode_to_vec()))))
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    connection.abort();
    // A failure without a message is in the head of the answer.
    Status::from_header_map(response.headers()).map(Failure::from)
}

fn slow_create() -> CreateUserRequest {
    CreateUserRequest {
        user: Some(User {
            email: "ada@example.com".to_owned(),
            ..User::default()
        }),
        password: PASSWORD.to_owned(),
        request_id: "7c9e6679-7425-40de-944b-e07fc1f90ae7".to_owned(),
        ..CreateUserRequest::default()
    }
}

/// Hashes that take far longer than the deadlines here.
const SLOW: (&str, &str) = ("IDENTITY_BCRYPT_COST", "14");

async fn a_deadline_that_has_passed_is_answered_with_its_reason(t: Test) {
    let server = t.start_with(&[SLOW]).await;
    for timeout in ["0n", "1n", "0S", "1m"] {
        let failure = call_with_timeout(&server, "CreateUser", &slow_create(), timeout).await;
        assert_eq!(
            kind(&failure.expect(timeout)),
            (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".to_owned())
        );
    }
}

async fn no_time_at_all_is_not_enough_for_any_call(t: Test) {
    let server = t.start().await;
    let request = GetUserRequest {
        user_id: "not an id, which is told without waiting for anything".to_owned(),
    };
    for timeout in ["0n", "0S", "0H"] {
        let failure = call_with_timeout(&server, "GetUser", &request, timeout).await;
        assert_eq!(
            kind(&failure.expect(timeout)),
            (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".to_owned())
        );
    }
}

async fn a_create_that_ends_by_its_deadline_leaves_nothing(t: Test) {
    let server = t.start_with(&[SLOW]).await;

    let failure = call_with_timeout(&server, "CreateUser", &slow_create(), "50m").await;

    assert_eq!(
        kind(&failure.unwrap()),
        (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".to_owned())
    );
    // The hash is computed to its end, but nobody stores it any more.
    eventually("the hash is computed", async || {
        let status = server.status().get_status(GetStatusRequest {}).await.unwrap();
        status
            .into_inner()
            .hashing
            .is_some_and(|hashing| hashing.running == 0)
    })
    .await;
    assert_eq!(count(&t, "users").await, "0");
    assert_eq!(count(&t, "request_ids").await, "0");
    server.create_user("ada@example.com").await;
}

async fn the_server_has_a_limit_of_its_own(t: Test) {
    let server = t.start_with(&[SLOW, ("IDENTITY_MAX_DEADLINE", "100ms")]).await;

    let without = server.users().create_user(slow_create()).await;
    assert_failed(
        without.map_err(Failure::from),
        Code::DeadlineExceeded,
        "DEADLINE_EXCEEDED",
    );
    let longer = call_with_timeout(&server, "CreateUser", &slow_create(), "1H").await;
    assert_eq!(
        kind(&longer.unwrap()),
        (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".to_owned())
    );
}

async fn hashing_overload_is_refused_with_a_time_to_retry(t: Test) {
    let server = t
        .start_with(&[
            ("IDENTITY_HASHING_THREADS", "1"),
            ("IDENTITY_HASHING_QUEUE", "1"),
            ("IDENTITY_BCRYPT_COST", "12"),
        ])
        .await;
    let server = &server;

    let results = join_all((0..32).map(|number| {
        let user = new_user().email(&format!("ada{number}@example.com"));
        server.create(user.password(PASSWORD))
    }))
    .await;

    let refused: Vec<Failure> = results.into_iter().filter_map(Result::err).collect();
    assert!(!refused.is_empty() && refused.len() < 32, "{refused:?}");
    for failure in &refused {
        assert_eq!(
            kind(failure),
            (Code::ResourceExhausted, "HASHING_OVERLOADED".to_owned())
        );
        let delay = failure.retry_delay().expect("a time to retry");
        assert!(
            delay > Duration::ZERO && delay <= Duration::from_secs(60),
            "{delay:?}"
        );
    }
    assert_eq!(count(&t, "users").await, (32 - refused.len()).to_string());
    // Whoever needs no hash is not refused, and nor is anybody once the queue is empty.
    server.create_user("bob@example.com").await;
    let last = new_user().email("last@example.com").password(PASSWORD);
    server.create(last).await.unwrap();
}
