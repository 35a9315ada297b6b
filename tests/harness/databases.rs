//! The database of a test, the servers on it, and SQL typed by hand.

use std::io::ErrorKind;

use identity::proto::identity::v1::GetStatusRequest;
use tokio::net::TcpStream;
use tonic_health::pb::health_check_response::ServingStatus;

use crate::support::{Behaviour, Proxy, Test, behaviours, eventually, postgres_only, sqlite_only};

pub fn tests() -> Vec<Behaviour> {
    [
        behaviours![
            every_client_reaches_its_server,
            every_server_shares_the_clock,
            sql_by_hand_answers_with_text_and_names_constraints,
        ],
        postgres_only![the_database_can_be_reached_through_a_proxy],
        sqlite_only![foreign_keys_are_enforced],
    ]
    .concat()
}

async fn sql_by_hand_answers_with_text_and_names_constraints(t: Test) {
    t.sql(
        "CREATE TABLE t (x int CONSTRAINT x_is_small CHECK (x < 9)); INSERT INTO t VALUES (1), (NULL)",
    )
    .await
    .unwrap();

    let error = t.sql("INSERT INTO t VALUES (9)").await.unwrap_err();

    assert!(error.contains("x_is_small"), "{error}");
    let values = t.sql_values("SELECT x AS value FROM t ORDER BY x IS NULL").await;
    assert_eq!(values, [Some("1".to_owned()), None]);
    assert_eq!(
        t.sql_value("SELECT count(*) AS value FROM t").await.as_deref(),
        Some("2")
    );
}

async fn every_client_reaches_its_server(t: Test) {
    let server = t.start_with(&[("IDENTITY_HANDSHAKE_TIMEOUT", "1h")]).await;

    let status = server
        .status()
        .get_status(GetStatusRequest {})
        .await
        .unwrap()
        .into_inner();
    assert!(status.database.unwrap().connected);
    assert_eq!(server.health_of("").await.unwrap(), ServingStatus::Serving);
    assert_eq!(server.http_get("/health").await.0, 200);

    let silent = TcpStream::connect(server.grpc_address()).await.unwrap();
    server.shutdown().await;
    // Not whether somebody listens at its address: a server of another test may have it by now.
    eventually("the server has closed its connections", async || {
        let read = silent.try_read(&mut [0]);
        !read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    })
    .await;
}

async fn every_server_shares_the_clock(t: Test) {
    let server = t.start().await;
    let replica = t.start_with(&[("IDENTITY_MIGRATE", "off")]).await;
    let early = replica.create_user("early@example.com").await;

    server.clock.advance(chrono::TimeDelta::days(1));

    let late = replica.create_user("late@example.com").await;
    let seconds = late.create_time.unwrap().seconds - early.create_time.unwrap().seconds;
    assert!(seconds >= 24 * 60 * 60, "{seconds}");
    server.shutdown().await;
    replica.shutdown().await;
}

async fn the_database_can_be_reached_through_a_proxy(t: Test) {
    let proxy = Proxy::start(t.database_address()).await;
    let server = t
        .start_with(&[("DATABASE_URL", &t.database_url_via(proxy.address()))])
        .await;

    proxy.refuse();
    server.wait_until_not_serving().await;

    proxy.forward();
    server.wait_until_serving().await;
}

async fn foreign_keys_are_enforced(t: Test) {
    t.sql("CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (id int REFERENCES parent)")
        .await
        .unwrap();

    let error = t.sql("INSERT INTO child VALUES (1)").await.unwrap_err();

    assert!(error.contains("FOREIGN KEY"), "{error}");
}
