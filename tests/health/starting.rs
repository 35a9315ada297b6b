//! A server whose database has not been migrated yet.

use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use identity::proto::identity::v1::{GetStatusRequest, LookupUserRequest};
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;

use super::{FOLLOWERS, LIVENESS};
use crate::support::{Behaviour, Clients, Failure, Proxy, Test, postgres_only, sqlite_only};

pub fn tests() -> Vec<Behaviour> {
    [
        postgres_only![h09_the_port_answers_before_the_database_can_be_reached],
        postgres_only![h09_the_port_answers_while_the_database_is_silent],
        sqlite_only![h09_the_port_answers_while_another_process_has_the_file],
    ]
    .concat()
}

async fn h09_the_port_answers_before_the_database_can_be_reached(t: Test) {
    let proxy = Proxy::start(t.database_address()).await;
    proxy.refuse();
    let url = t.database_url_via(proxy.address());
    let server = t.launch(&[("DATABASE_URL", &url)]).await.unwrap();

    assert_is_starting(&server).await;

    proxy.forward();
    assert_has_started(&server).await;
}

async fn h09_the_port_answers_while_the_database_is_silent(t: Test) {
    let proxy = Proxy::start(t.database_address()).await;
    proxy.black_hole();
    let url = t.database_url_via(proxy.address());
    let server = t.launch(&[("DATABASE_URL", &url)]).await.unwrap();

    assert_is_starting(&server).await;

    proxy.forward();
    assert_has_started(&server).await;
}

async fn h09_the_port_answers_while_another_process_has_the_file(t: Test) {
    let path = t.database_url().replace("sqlite://", "");
    let mut other = SqliteConnection::establish(&path).unwrap();
    other
        .batch_execute("BEGIN EXCLUSIVE; CREATE TABLE t (x int)")
        .unwrap();
    let server = t.launch(&[]).await.unwrap();

    assert_is_starting(&server).await;

    other.batch_execute("ROLLBACK").unwrap();
    assert_has_started(&server).await;
}

async fn assert_is_starting(clients: &Clients) {
    for name in FOLLOWERS {
        assert_eq!(
            clients.health_of(name).await.unwrap(),
            ServingStatus::NotServing,
            "{name}"
        );
    }
    assert_eq!(clients.health_of(LIVENESS).await.unwrap(), ServingStatus::Serving);
    assert_eq!(clients.http_get("/health").await.0, 503);
    let failures: [Failure; 2] = [
        clients
            .get("0190a6e1-7d5c-7abc-8def-0123456789ab")
            .await
            .unwrap_err(),
        clients
            .users()
            .lookup_user(LookupUserRequest::default())
            .await
            .unwrap_err()
            .into(),
    ];
    for failure in failures {
        assert_eq!(
            (failure.code(), failure.reason().as_str()),
            (Code::Unavailable, "DATABASE_UNAVAILABLE")
        );
        assert!(failure.retry_delay().is_some(), "{failure:?}");
    }
    let status = clients
        .status()
        .get_status(GetStatusRequest {})
        .await
        .unwrap()
        .into_inner();
    assert!(!status.database.unwrap().connected && status.migrations.is_none());
}

async fn assert_has_started(clients: &Clients) {
    clients.wait_until_serving().await;
    let ada = clients.create_user("ada@example.com").await;
    assert_eq!(clients.get(&ada.id).await.unwrap(), ada);
}
