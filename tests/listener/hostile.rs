//! What is not HTTP/2, comes too slowly, or goes at once.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{check, open, refused};
use crate::support::certificates::Authority;
use crate::support::http2::{Http2, PREFACE};
use crate::support::{Behaviour, Process, Test, eventually, sqlite_only};

pub fn tests() -> Vec<Behaviour> {
    sqlite_only![
        x06_an_unfinished_preface_is_not_waited_for,
        x06_an_unfinished_hello_is_not_waited_for,
        x16_clients_that_go_at_once_do_no_harm,
        x16_a_server_with_few_descriptors_stays,
        x17_other_protocols_are_closed_and_logged_once,
        x17_plain_text_to_the_port_of_tls_is_closed_and_logged_once,
    ]
}

/// Sends bytes and waits until the server closes the connection.
async fn sent_away(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // Fails if the server has seen enough before the end.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    answer
}

/// A hello of TLS as a client of OpenSSL would begin it.
const HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";

async fn x06_an_unfinished_preface_is_not_waited_for(t: Test) {
    let server = t.start_with(&[("IDENTITY_HANDSHAKE_TIMEOUT", "300ms")]).await;
    for length in [0, 1, PREFACE.len() - 1] {
        sent_away(server.grpc_address(), &PREFACE[..length]).await;
    }
    eventually("all are counted", async || {
        refused(&server, "too_slow").await == 3
    })
    .await;

    // One byte at a time does not make it longer.
    let mut dripping = TcpStream::connect(server.grpc_address()).await.unwrap();
    let mut rest = PREFACE.iter().cycle();
    eventually("the connection is closed", async || {
        let byte = rest.next().unwrap();
        let is_closed = dripping.write_all(&[*byte]).await.is_err();
        is_closed || refused(&server, "too_slow").await + refused(&server, "not_http2").await > 3
    })
    .await;
    check(&mut Http2::connect(server.grpc_address()).await).await;
}

async fn x06_an_unfinished_hello_is_not_waited_for(t: Test) {
    let authority = Authority::new();
    let (certificate, key) = authority.identity(&["localhost"], &[]).write(t.directory());
    let (certificate, key) = (certificate.display().to_string(), key.display().to_string());
    let server = t
        .launch(&[
            ("IDENTITY_TLS_CERT_FILE", &certificate),
            ("IDENTITY_TLS_KEY_FILE", &key),
            ("IDENTITY_HANDSHAKE_TIMEOUT", "300ms"),
        ])
        .await
        .unwrap();

    sent_away(server.grpc_address(), b"").await;
    sent_away(server.grpc_address(), HELLO).await;

    eventually("both are counted", async || {
        refused(&server, "too_slow").await == 2
    })
    .await;
}

async fn x16_clients_that_go_at_once_do_no_harm(t: Test) {
    let server = t.start().await;
    for _ in 0..500 {
        let stream = TcpStream::connect(server.grpc_address()).await.unwrap();
        // Closing sends a reset, often before the server has accepted.
        stream.set_zero_linger().unwrap();
    }

    check(&mut Http2::connect(server.grpc_address()).await).await;
    eventually("they are forgotten", async || open(&server).await <= 1).await;
}

async fn x16_a_server_with_few_descriptors_stays(t: Test) {
    let mut server = t.spawn_with_descriptors(128, &[], &["serve"]);
    server.wait_until_serving().await;
    let mut silent = Vec::new();
    for _ in 0..400 {
        silent.push(TcpStream::connect(server.grpc_address()).await.unwrap());
    }

    check(&mut Http2::connect(server.grpc_address()).await).await;
    server.create_user("ada@example.com").await;

    assert!(
        server
            .stderr()
            .contains("fewer connections than IDENTITY_MAX_CONNECTIONS")
    );
}

async fn x17_other_protocols_are_closed_and_logged_once(t: Test) {
    let mut server = t.spawn(&[], &["serve"]);
    server.wait_until_serving().await;
    for _ in 0..10 {
        for bytes in [
            &b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..],
            HELLO,
            b"\x00\xff\x80\x01random",
            b"PRI * HTTP/1.1\r\n\r\nSM\r\n\r\n",
        ] {
            assert_eq!(sent_away(server.grpc_address(), bytes).await, b"");
        }
    }

    eventually("all are counted", async || {
        refused(&server, "not_http2").await == 40
    })
    .await;
    assert_eq!(refusals_in_the_log(&server).len(), 1, "{}", server.stderr());
    check(&mut Http2::connect(server.grpc_address()).await).await;
}

async fn x17_plain_text_to_the_port_of_tls_is_closed_and_logged_once(t: Test) {
    let authority = Authority::new();
    let (certificate, key) = authority.identity(&["localhost"], &[]).write(t.directory());
    let (certificate, key) = (certificate.display().to_string(), key.display().to_string());
    let server = t.spawn(
        &[
            ("IDENTITY_TLS_CERT_FILE", &certificate),
            ("IDENTITY_TLS_KEY_FILE", &key),
        ],
        &["serve"],
    );
    server.wait_until_healthy().await;
    for _ in 0..10 {
        for bytes in [
            PREFACE,
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"\x00\xff\x80",
        ] {
            sent_away(server.grpc_address(), bytes).await;
        }
    }

    eventually("all are counted", async || refused(&server, "tls").await == 30).await;
    let lines = refusals_in_the_log(&server);
    assert_eq!(lines.len(), 1, "{}", server.stderr());
    assert_eq!(lines[0]["reason"], "tls");
}

/// Returns what the log says about refused connections.
fn refusals_in_the_log(server: &Process) -> Vec<Value> {
    let stderr = server.stderr();
    let events = stderr
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    events
        .map(|event| event["fields"].clone())
        .filter(|fields| fields["message"] == "a connection was refused")
        .collect()
}
