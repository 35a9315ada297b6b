//! How streams end.

use chrono::TimeDelta;
use tonic::Code;

use super::watching::{Watch, after, from_beginning, from_now};
use super::{CHECKPOINTS, rename};
use crate::support::http2::{CANCEL, Http2, INITIAL_WINDOW_SIZE, RST_STREAM};
use crate::support::{AUTH, Behaviour, Test, behaviours, eventually};
use crate::user_service::calls::kind;

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        a_revoked_token_ends_the_stream,
        an_expired_token_ends_the_stream,
        a_stream_is_one_call_of_the_limit,
        the_end_of_the_server_ends_the_stream_and_another_one_goes_on,
        x11_a_stream_that_is_not_read_is_cut,
        a_reader_that_falls_behind_misses_nothing,
        a_watch_ends_with_its_caller,
        without_a_deadline_of_its_own_a_stream_outlives_that_of_calls,
    ]
}

const PROMPT: (&str, &str) = ("IDENTITY_SERVICE_TOKEN_INTERVAL", "100ms");

fn pair(code: Code, reason: &str) -> (Code, String) {
    (code, reason.to_owned())
}

async fn a_revoked_token_ends_the_stream(t: Test) {
    let server = t.start_with(&[AUTH, PROMPT]).await;
    let admin = server.with_token(&t.service_token("admin", &["admin"]).await);
    let consumer = server.with_token(&t.service_token("consumer", &["users.read"]).await);
    let kept = server.with_token(&t.service_token("kept", &["users.read"]).await);
    let mut watch = Watch::now(&consumer).await;
    let mut other = Watch::now(&kept).await;

    t.sql("UPDATE service_tokens SET revoked_at = created_at WHERE name = 'consumer'")
        .await
        .unwrap();

    assert_eq!(
        kind(&watch.end().await),
        pair(Code::Unauthenticated, "TOKEN_INVALID")
    );
    let ada = admin.create_user("ada@example.com").await;
    assert_eq!(other.change().await.user, Some(ada));
}

async fn an_expired_token_ends_the_stream(t: Test) {
    let server = t.start_with(&[AUTH, PROMPT]).await;
    let arguments = [
        "service-token",
        "create",
        "todo",
        "--scope",
        "users.read",
        "--expires-in",
        "1h",
    ];
    let (code, token, _) = t.run(&[], &arguments).await;
    assert_eq!(code, 0);
    let mut watch = Watch::now(&server.with_token(token.trim_end())).await;

    server.clock.advance(TimeDelta::hours(1));

    assert_eq!(
        kind(&watch.end().await),
        pair(Code::Unauthenticated, "TOKEN_EXPIRED")
    );
}

async fn a_stream_is_one_call_of_the_limit(t: Test) {
    let limit = ("IDENTITY_RATE_LIMIT_PER_SERVICE", "2/h");
    let server = t.start_with(&[AUTH, CHECKPOINTS, limit]).await;
    let consumer = server.with_token(&t.service_token("consumer", &["users.read"]).await);
    let mut watch = Watch::now(&consumer).await;
    for _ in 0..5 {
        watch.checkpoint().await;
    }
    let mut second = Watch::now(&consumer).await;

    let third = Watch::begin(&consumer, from_now()).await.map(drop).unwrap_err();

    assert_eq!(kind(&third), pair(Code::ResourceExhausted, "RATE_LIMITED"));
    watch.checkpoint().await;
    second.checkpoint().await;
}

async fn the_end_of_the_server_ends_the_stream_and_another_one_goes_on(t: Test) {
    // Longer than a test waits.
    let server = t.start_with(&[("IDENTITY_DRAIN_TIME", "1h")]).await;
    let other = t.start().await;
    let ada = server.create_user("ada@example.com").await;
    let mut watch = Watch::begin(&server, from_beginning()).await.unwrap();
    assert_eq!(watch.user().await, ada);
    watch.catch_up().await;

    let ((), end) = tokio::join!(server.shutdown(), watch.end());

    assert_eq!(end.code(), Code::Unavailable);
    assert!(end.retry_delay().is_some());
    let renamed = rename(&other, &ada, "Ada").await;
    let mut resumed = Watch::begin(&other, after(&watch.token)).await.unwrap();
    assert_eq!(resumed.change().await.user, Some(renamed));
}

async fn x11_a_stream_that_is_not_read_is_cut(t: Test) {
    const WATCH_USERS: &str = "/identity.v1.UserService/WatchUsers";
    let server = t.start_with(&[("IDENTITY_SEND_TIMEOUT", "300ms")]).await;
    server.create_user("ada@example.com").await;
    let settings = [(INITIAL_WINDOW_SIZE, 0)];
    let mut client = Http2::connect_with(server.grpc_address(), &settings).await;
    let stream = client.call(WATCH_USERS, &from_beginning()).await.unwrap();

    let end = client.end_of(stream).await;

    assert_eq!((end.kind, end.error_code()), (RST_STREAM, CANCEL));
    eventually("nothing is kept of it", async || {
        server.metric("identity_watchers").await == 0.0
    })
    .await;
}

/// It has what it did not read from the database.
async fn a_reader_that_falls_behind_misses_nothing(t: Test) {
    const CHANGES: usize = 400;
    // Names so long that the windows of the connection are full of a part of them.
    let name = "n".repeat(200);
    let server = t.start().await;
    let ada = server.create_user("ada@example.com").await;
    let mut slow = Watch::now(&server).await;
    let mut quick = Watch::now(&server).await;
    for number in 0..CHANGES {
        rename(&server, &ada, &format!("{name} {number}")).await;
        quick.change().await;
    }

    let mut events = Vec::new();
    for _ in 0..CHANGES {
        events.push(slow.change().await.event_id);
    }

    let recorded = t
        .sql_values("SELECT count(*) AS value FROM user_events WHERE type = 'user_updated'")
        .await;
    assert_eq!(recorded.len(), 1);
    events.sort_unstable();
    events.dedup();
    assert_eq!(events.len(), CHANGES);
}

async fn a_watch_ends_with_its_caller(t: Test) {
    let server = t.start().await;
    let one = Watch::now(&server).await;
    let other = Watch::now(&server).await;
    assert_eq!(server.metric("identity_watchers").await, 2.0);

    drop((one, other));

    eventually("nobody watches", async || {
        server.metric("identity_watchers").await == 0.0
    })
    .await;
    let mut again = Watch::now(&server).await;
    let ada = server.create_user("ada@example.com").await;
    assert_eq!(again.change().await.user, Some(ada));
}

async fn without_a_deadline_of_its_own_a_stream_outlives_that_of_calls(t: Test) {
    let server = t
        .start_with(&[("IDENTITY_MAX_DEADLINE", "1s"), CHECKPOINTS])
        .await;
    let mut watch = Watch::now(&server).await;
    let begun = std::time::Instant::now();
    eventually("the deadline of calls has passed", async || {
        watch.checkpoint().await;
        begun.elapsed() > std::time::Duration::from_secs(1)
    })
    .await;
    let ada = server.create_user("ada@example.com").await;
    assert_eq!(watch.change().await.user, Some(ada));
}
