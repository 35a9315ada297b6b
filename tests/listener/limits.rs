//! How many connections there may be, and who gives way.

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tonic_health::pb::HealthCheckRequest;

use super::{check, may_be_repeated, open, refused, watch};
use crate::support::http2::{GOAWAY, Http2, NO_ERROR};
use crate::support::{Behaviour, Test, eventually, sqlite_only};

pub fn tests() -> Vec<Behaviour> {
    sqlite_only![
        x06_silent_connections_give_way,
        x06_connections_that_never_call_give_way,
        x06_connections_that_never_call_have_a_limit_of_their_own,
        x06_good_idle_connections_stay_while_silent_ones_flood,
        x06_the_limit_of_a_peer_is_its_own,
        who_is_busy_stays_and_who_comes_is_refused,
        x20_an_old_connection_is_sent_away_without_an_error,
    ]
}

/// Waits until the server closes a connection that has nothing to say.
async fn closed(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    // A reset is an end, too.
    let _ = stream.read_to_end(&mut rest).await;
}

async fn x06_silent_connections_give_way(t: Test) {
    const LIMIT: usize = 50;
    let server = t
        .start_with(&[
            ("IDENTITY_MAX_CONNECTIONS", "50"),
            ("IDENTITY_MAX_CONNECTIONS_PER_PEER", "50"),
            ("IDENTITY_HANDSHAKE_TIMEOUT", "1h"),
        ])
        .await;
    let mut silent = Vec::new();
    for _ in 0..3 * LIMIT {
        silent.push(TcpStream::connect(server.grpc_address()).await.unwrap());
    }

    check(&mut Http2::connect(server.grpc_address()).await).await;
    server.create_user("ada@example.com").await;

    let surplus = u64::try_from(2 * LIMIT).unwrap();
    eventually("the oldest have given way", async || {
        refused(&server, "gave_way").await >= surplus && open(&server).await <= 50
    })
    .await;
    for connection in &mut silent[..LIMIT] {
        closed(connection).await;
    }
}

async fn x06_connections_that_never_call_give_way(t: Test) {
    let server = t
        .start_with(&[
            ("IDENTITY_MAX_CONNECTIONS", "10"),
            ("IDENTITY_MAX_CONNECTIONS_PER_PEER", "10"),
        ])
        .await;
    let mut quiet = Vec::new();
    for _ in 0..30 {
        let mut client = Http2::connect(server.grpc_address()).await;
        // The server has taken the preface.
        client.next().await.unwrap();
        quiet.push(client);
    }

    let mut good = Http2::connect(server.grpc_address()).await;
    check(&mut good).await;

    for client in &mut quiet[..20] {
        client.end().await;
    }
    check(&mut good).await;
}

async fn x06_connections_that_never_call_have_a_limit_of_their_own(t: Test) {
    const LIMIT: usize = 10;
    let server = t.start_with(&[("IDENTITY_MAX_SILENT_CONNECTIONS", "10")]).await;
    let mut caller = Http2::connect(server.grpc_address()).await;
    check(&mut caller).await;
    let mut quiet = Vec::new();
    for _ in 0..3 * LIMIT {
        let mut client = Http2::connect(server.grpc_address()).await;
        // The server has taken the preface.
        client.next().await.unwrap();
        quiet.push(client);
    }

    let (gone, left) = quiet.split_at_mut(2 * LIMIT);
    for client in gone {
        client.end().await;
    }
    for client in left {
        check(client).await;
    }
    check(&mut caller).await;
}

async fn x06_good_idle_connections_stay_while_silent_ones_flood(t: Test) {
    const GOOD: usize = 20;
    let server = t
        .start_with(&[
            ("IDENTITY_MAX_CONNECTIONS", "40"),
            ("IDENTITY_MAX_CONNECTIONS_PER_PEER", "40"),
            ("IDENTITY_HANDSHAKE_TIMEOUT", "1h"),
        ])
        .await;
    let mut good = Vec::new();
    for _ in 0..GOOD {
        let mut client = Http2::connect(server.grpc_address()).await;
        check(&mut client).await;
        good.push(client);
    }

    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(server.grpc_address()).await.unwrap());
    }
    eventually("the flood has arrived", async || {
        refused(&server, "gave_way").await >= 170
    })
    .await;

    for client in &mut good {
        check(client).await;
    }
}

async fn x06_the_limit_of_a_peer_is_its_own(t: Test) {
    let server = t
        .start_with(&[
            ("IDENTITY_MAX_CONNECTIONS", "100"),
            ("IDENTITY_MAX_CONNECTIONS_PER_PEER", "5"),
            ("IDENTITY_HANDSHAKE_TIMEOUT", "1h"),
        ])
        .await;
    let other = TcpStream::connect(server.grpc_address()).await.unwrap();
    let mut flood = Vec::new();
    for _ in 0..50 {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        flood.push(socket.connect(server.grpc_address()).await.unwrap());
    }

    for connection in &mut flood[..45] {
        closed(connection).await;
    }

    let mut byte = [0];
    let untouched = other.try_read(&mut byte);
    assert!(
        untouched.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock),
        "the flood came from another address"
    );
}

async fn who_is_busy_stays_and_who_comes_is_refused(t: Test) {
    let server = t.start_with(&[("IDENTITY_MAX_CONNECTIONS_PER_PEER", "3")]).await;
    let mut busy = Vec::new();
    for _ in 0..3 {
        let mut client = Http2::connect(server.grpc_address()).await;
        watch(&mut client).await;
        busy.push(client);
    }

    let mut late = TcpStream::connect(server.grpc_address()).await.unwrap();
    closed(&mut late).await;

    eventually("it is counted", async || refused(&server, "peer_full").await == 1).await;
    for client in &mut busy {
        check(client).await;
    }
    drop(busy);
    eventually("there is room again", async || open(&server).await == 0).await;
    check(&mut Http2::connect(server.grpc_address()).await).await;
}

async fn x20_an_old_connection_is_sent_away_without_an_error(t: Test) {
    let server = t.start_with(&[("IDENTITY_MAX_CONNECTION_AGE", "200ms")]).await;
    let mut idle = Http2::connect(server.grpc_address()).await;
    let mut busy = Http2::connect(server.grpc_address()).await;
    let stream = watch(&mut busy).await;

    let first = idle.wait_for(|frame| frame.kind == GOAWAY).await;
    assert_eq!(first.error_code(), NO_ERROR);
    idle.end().await;
    busy.wait_for(|frame| frame.kind == GOAWAY).await;

    // A client that is sent away again and again connects anew, and no call fails that was sent.
    let address = server.grpc_address();
    let has_ended = tokio::spawn(async move {
        for _ in 0..5 {
            Http2::connect(address).await.end().await;
        }
    });
    while !has_ended.is_finished() {
        if let Err(status) = server.health().check(HealthCheckRequest::default()).await {
            assert!(may_be_repeated(&status), "{status:?}");
        }
    }
    // What was in flight is in flight still, and ends when the server does.
    let (_, last) = tokio::join!(server.shutdown(), busy.end_of(stream));
    assert_eq!(last.stream, stream);
}
