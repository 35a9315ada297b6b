//! Frames that cost the server more than the client.

use std::net::SocketAddr;

use tonic_health::pb::HealthCheckRequest;

use super::{CHECK, check, resident_bytes};
use crate::support::http2::{
    ACK, CANCEL, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, End, GOAWAY, HEADERS,
    Http2, PING, REFUSED_STREAM, RST_STREAM, frame, grpc_message, headers, headers_of_call,
};
use crate::support::{Behaviour, Test, behaviours, sqlite_only};

pub fn tests() -> Vec<Behaviour> {
    [
        sqlite_only![
            x05_more_streams_than_allowed_are_refused,
            x05_ten_thousand_streams_cost_little,
            x08_rapid_reset_is_sent_away,
            x09_endless_headers_are_sent_away,
            x09_metadata_beyond_the_limit_is_refused,
            x09_ten_thousand_small_headers_are_refused,
            x09_metadata_that_is_not_what_it_says_is_no_fault,
            x13_pings_all_the_time_are_answered,
        ],
        behaviours![h06_the_health_is_answered_during_floods],
    ]
    .concat()
}

async fn x05_more_streams_than_allowed_are_refused(t: Test) {
    const ALLOWED: usize = 10;
    const SURPLUS: usize = 20;
    let server = t.start_with(&[("IDENTITY_MAX_CONCURRENT_STREAMS", "10")]).await;
    let mut client = Http2::connect(server.grpc_address()).await;
    for _ in 0..ALLOWED + SURPLUS {
        let stream = client.new_stream();
        let block = headers_of_call(CHECK);
        client.send(HEADERS, END_HEADERS, stream, &block).await.unwrap();
    }

    for _ in 0..SURPLUS {
        let refusal = client.wait_for(|frame| frame.kind == RST_STREAM).await;
        assert_eq!(refusal.error_code(), REFUSED_STREAM);
        assert!(
            refusal.stream > 2 * u32::try_from(ALLOWED).unwrap() - 1,
            "{refusal:?}"
        );
    }

    // Those that were taken still work.
    let message = grpc_message(&HealthCheckRequest::default());
    client.send(DATA, END_STREAM, 1, &message).await.unwrap();
    assert_eq!(client.end_of(1).await.kind, HEADERS);
}

async fn x05_ten_thousand_streams_cost_little(t: Test) {
    const STREAMS: usize = 10_000;
    const LIMIT_BYTES: u64 = 64 * 1024 * 1024;
    let mut server = t.spawn(&[], &["serve"]);
    server.wait_until_serving().await;
    let before = resident_bytes(server.id());
    let mut client = Http2::connect(server.grpc_address()).await;
    // Each announces a message of 4 MiB.
    let announced = [0, 0, 64, 0, 0];
    for _ in 0..STREAMS {
        let stream = client.new_stream();
        let bytes = [
            frame(HEADERS, END_HEADERS, stream, &headers_of_call(CHECK)),
            frame(DATA, 0, stream, &announced),
        ]
        .concat();
        if client.write(&bytes).await.is_err() {
            break;
        }
    }

    // It has gone too far beyond the limit of streams.
    assert!(matches!(
        client.end().await,
        End::GoAway(ENHANCE_YOUR_CALM) | End::Closed
    ));
    let grown = resident_bytes(server.id()).saturating_sub(before);
    assert!(grown < LIMIT_BYTES, "{grown} bytes");
    check(&mut Http2::connect(server.grpc_address()).await).await;
}

async fn x08_rapid_reset_is_sent_away(t: Test) {
    const PAIRS: usize = 100_000;
    let server = t.start().await;
    let mut other = Http2::connect(server.grpc_address()).await;
    let mut client = Http2::connect(server.grpc_address()).await;
    let mut sent = 0;
    for _ in 0..PAIRS {
        let stream = client.new_stream();
        let bytes = [
            frame(HEADERS, END_HEADERS | END_STREAM, stream, &headers_of_call(CHECK)),
            frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes()),
        ]
        .concat();
        if client.write(&bytes).await.is_err() {
            break;
        }
        sent += 1;
    }

    assert!(sent < PAIRS, "it was let go on");
    assert!(matches!(
        client.end().await,
        End::GoAway(ENHANCE_YOUR_CALM) | End::Closed
    ));
    check(&mut other).await;
}

async fn x09_endless_headers_are_sent_away(t: Test) {
    const LIMIT_FRAMES: usize = 10_000;
    let server = t.start().await;
    let mut client = Http2::connect(server.grpc_address()).await;
    client.send(HEADERS, 0, 1, &headers_of_call(CHECK)).await.unwrap();
    let block = headers(&[("x-filler", &"x".repeat(1000))]);
    let mut sent = 0;
    while sent < LIMIT_FRAMES && client.send(CONTINUATION, 0, 1, &block).await.is_ok() {
        sent += 1;
    }

    assert!(sent < LIMIT_FRAMES, "it was let go on");
    assert_ne!(client.end().await, End::GoAway(0));
    check(&mut Http2::connect(server.grpc_address()).await).await;
}

/// Makes a call with more headers. Returns whether there was a message in the answer.
async fn is_answered(client: &mut Http2, more: &[u8]) -> bool {
    const MAX_FRAME_BYTES: usize = 16 * 1024;
    let stream = client.new_stream();
    let block = [&headers_of_call(CHECK)[..], more].concat();
    let mut bytes = Vec::new();
    let mut kind = HEADERS;
    let mut parts = block.chunks(MAX_FRAME_BYTES).peekable();
    while let Some(part) = parts.next() {
        let flags = if parts.peek().is_none() { END_HEADERS } else { 0 };
        bytes.extend(frame(kind, flags, stream, part));
        kind = CONTINUATION;
    }
    let message = grpc_message(&HealthCheckRequest::default());
    bytes.extend(frame(DATA, END_STREAM, stream, &message));
    // Fails if the server has seen enough before the end.
    let _ = client.write(&bytes).await;
    let mut has_message = false;
    while let Some(frame) = client.next().await {
        has_message |= frame.stream == stream && frame.kind == DATA;
        if frame.kind == GOAWAY || (frame.stream == stream && frame.ends_stream()) {
            break;
        }
    }
    has_message
}

async fn x09_metadata_beyond_the_limit_is_refused(t: Test) {
    let server = t.start().await;
    let of_length = |length| headers(&[("x-filler", &"x".repeat(length))]);
    let mut client = Http2::connect(server.grpc_address()).await;
    assert!(is_answered(&mut client, &of_length(8 * 1024)).await);

    assert!(!is_answered(&mut client, &of_length(17 * 1024)).await);

    check(&mut Http2::connect(server.grpc_address()).await).await;
}

async fn x09_ten_thousand_small_headers_are_refused(t: Test) {
    let server = t.start().await;
    let mut client = Http2::connect(server.grpc_address()).await;

    assert!(!is_answered(&mut client, &headers(&[("a", "b")]).repeat(10_000)).await);

    check(&mut Http2::connect(server.grpc_address()).await).await;
}

async fn x09_metadata_that_is_not_what_it_says_is_no_fault(t: Test) {
    let server = t.start().await;
    let mut client = Http2::connect(server.grpc_address()).await;
    for value in ["!!!", "====", "a", "grpc-status-details"] {
        let bad = headers(&[("x-trace-bin", value), ("grpc-trace-bin", value)]);
        assert!(is_answered(&mut client, &bad).await, "{value}");
    }
    check(&mut client).await;
    assert_eq!(server.metric("identity_panics_total").await, 0.0);
}

async fn x13_pings_all_the_time_are_answered(t: Test) {
    const PINGS: u64 = 2000;
    let server = t.start().await;
    let mut client = Http2::connect(server.grpc_address()).await;
    for number in 0..PINGS {
        let payload = number.to_be_bytes();
        client.send(PING, 0, 0, &payload).await.unwrap();
        client
            .wait_for(|frame| frame.kind == PING && frame.flags & ACK != 0 && frame.payload == payload)
            .await;
    }
    check(&mut client).await;
}

/// Sends frames for new streams without end, on one connection after the other.
async fn flood(address: SocketAddr, make: fn(u32) -> Vec<u8>) {
    loop {
        let mut client = Http2::connect(address).await;
        let mut is_taken = true;
        while is_taken {
            let stream = client.new_stream();
            is_taken = client.write(&make(stream)).await.is_ok();
        }
    }
}

/// While one client opens streams without end, another resets them, and a third sends headers without end.
async fn h06_the_health_is_answered_during_floods(t: Test) {
    const CHECKS: usize = 50;
    let server = t.start().await;
    let floods = [
        tokio::spawn(flood(server.grpc_address(), |stream| {
            frame(HEADERS, END_HEADERS, stream, &headers_of_call(CHECK))
        })),
        tokio::spawn(flood(server.grpc_address(), |stream| {
            [
                frame(HEADERS, END_HEADERS | END_STREAM, stream, &headers_of_call(CHECK)),
                frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes()),
            ]
            .concat()
        })),
        tokio::spawn(flood(server.grpc_address(), |stream| {
            frame(HEADERS, 0, stream, &headers_of_call(CHECK))
        })),
    ];

    for _ in 0..CHECKS {
        assert!(server.is_serving().await);
    }

    for flood in floods {
        flood.abort();
    }
    assert_eq!(server.metric("identity_panics_total").await, 0.0);
}
