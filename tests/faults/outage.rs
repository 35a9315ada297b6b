//! The database goes away and comes back.

use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;

use super::{backends, rename, terminate};
use crate::support::{
    Behaviour, Failure, PostgresCluster, Proxy, Test, TestServer, eventually, new_user, postgres_only,
};

pub fn tests() -> Vec<Behaviour> {
    postgres_only![
        d01_d02_calls_fail_while_postgresql_is_stopped_and_succeed_again_without_a_restart,
        d02_a_server_waits_for_a_database_that_starts_after_it,
        d05_a_black_hole_ends_calls_and_the_connections_are_discarded,
        d05_lost_connections_are_no_error,
        d08_terminated_connections_are_no_error,
        d08_a_connection_that_is_terminated_during_a_call_is_no_error,
    ]
}

/// Checks that a call was refused as it should be while the database is away.
fn assert_unavailable(failure: &Failure) {
    assert_eq!(failure.code(), Code::Unavailable, "{failure:?}");
    assert_eq!(failure.reason(), "DATABASE_UNAVAILABLE");
    assert!(failure.retry_delay().is_some(), "{failure:?}");
}

/// Checks that reads and writes are answered well.
async fn assert_works(server: &TestServer, id: &str, round: usize) {
    let email = format!("round-{round}@example.com");
    let name = format!("Ada {round}");
    let (read, created, renamed) = tokio::join!(
        server.get(id),
        server.create(new_user().email(&email)),
        rename(server, id, &name)
    );
    read.unwrap();
    created.unwrap();
    renamed.unwrap();
}

async fn d01_d02_calls_fail_while_postgresql_is_stopped_and_succeed_again_without_a_restart(t: Test) {
    let cluster = PostgresCluster::start(&[]).await;
    let mut server = t.spawn(
        &[
            ("DATABASE_URL", &cluster.url("postgres")),
            // Above the 2 s that a call waits for a connection: who waits twice does not get an answer.
            ("IDENTITY_MAX_DEADLINE", "3500ms"),
        ],
        &["serve"],
    );
    server.wait_until_serving().await;
    let ada = server.create_user("ada@example.com").await;

    for round in 0..3 {
        cluster.stop().await;

        assert_unavailable(&server.get(&ada.id).await.unwrap_err());
        assert_unavailable(&rename(&server, &ada.id, "Ada").await.unwrap_err());
        let grace = new_user().email(&format!("grace-{round}@example.com"));
        assert_unavailable(&server.create(grace.clone()).await.unwrap_err());
        server.wait_until_not_serving().await;
        assert_eq!(
            server.health_of("liveness").await.unwrap(),
            ServingStatus::Serving
        );
        assert_eq!(server.http_get("/health").await.0, 503);

        cluster.start_again().await;
        server.wait_until_serving().await;

        assert_eq!(server.get(&ada.id).await.unwrap().id, ada.id);
        server.create(grace).await.unwrap();
        assert_eq!(server.http_get("/health").await.0, 200);
    }
    server.terminate();
    assert!(server.wait().await.success(), "{}", server.output());
}

async fn d02_a_server_waits_for_a_database_that_starts_after_it(t: Test) {
    let cluster = PostgresCluster::start(&[]).await;
    cluster.stop().await;
    let server = t
        .launch(&[
            ("DATABASE_URL", &cluster.url("postgres")),
            ("IDENTITY_DATABASE_CONNECT_TIMEOUT", "60s"),
        ])
        .await
        .unwrap();
    let failure = server
        .create(new_user().email("ada@example.com"))
        .await
        .unwrap_err();
    assert_unavailable(&failure);

    cluster.start_again().await;
    server.wait_until_serving().await;

    server.create_user("ada@example.com").await;
}

async fn d05_a_black_hole_ends_calls_and_the_connections_are_discarded(t: Test) {
    let proxy = Proxy::start(t.database_address()).await;
    let server = t
        .start_with(&[
            ("DATABASE_URL", &t.database_url_via(proxy.address())),
            ("IDENTITY_DATABASE_STATEMENT_TIMEOUT", "300ms"),
            ("IDENTITY_DATABASE_POOL_MAX_SIZE", "2"),
            ("IDENTITY_DATABASE_POOL_ACQUIRE_TIMEOUT", "1s"),
            ("IDENTITY_DATABASE_CONNECT_TIMEOUT", "1s"),
        ])
        .await;
    let ada = server.create_user("ada@example.com").await;
    assert_works(&server, &ada.id, 0).await;
    let old = backends(&t, "TRUE").await;
    assert!(!old.is_empty());

    proxy.black_hole();

    // More than there are connections: nobody waits for those that never come back.
    let reads = futures_util::future::join_all((0..6).map(|_| server.get(&ada.id))).await;
    for outcome in reads {
        assert_unavailable(&outcome.unwrap_err());
    }
    assert_unavailable(&rename(&server, &ada.id, "Ada").await.unwrap_err());
    server.wait_until_not_serving().await;

    proxy.forward();
    server.wait_until_serving().await;

    for round in 1..=5 {
        assert_works(&server, &ada.id, round).await;
    }
    eventually("the old connections are gone", async || {
        let present = backends(&t, "TRUE").await;
        old.iter().all(|pid| !present.contains(pid))
    })
    .await;
}

async fn d05_lost_connections_are_no_error(t: Test) {
    let proxy = Proxy::start(t.database_address()).await;
    let server = t
        .start_with(&[
            ("DATABASE_URL", &t.database_url_via(proxy.address())),
            ("IDENTITY_DATABASE_POOL_MIN_IDLE", "5"),
        ])
        .await;
    let ada = server.create_user("ada@example.com").await;

    for round in 0..20 {
        let old = backends(&t, "TRUE").await;
        proxy.cut();
        // A call that is made before that may be in the middle of its commit when the connection is lost.
        eventually("the connections are lost", async || {
            let present = backends(&t, "TRUE").await;
            old.iter().all(|pid| !present.contains(pid))
        })
        .await;
        assert_works(&server, &ada.id, round).await;
    }
}

async fn d08_terminated_connections_are_no_error(t: Test) {
    let server = t.start_with(&[("IDENTITY_DATABASE_POOL_MIN_IDLE", "5")]).await;
    let ada = server.create_user("ada@example.com").await;

    for round in 0..40 {
        assert!(terminate(&t, "TRUE").await > 1);
        assert_works(&server, &ada.id, round).await;
    }
}

/// The connection that waits for the lock of another program is terminated, before anything was written.
async fn d08_a_connection_that_is_terminated_during_a_call_is_no_error(t: Test) {
    let server = t.start().await;
    let ada = server.create_user("ada@example.com").await;
    let blocker = super::blocker::Blocker::of_users(&t).await;

    let (read, renamed, ()) =
        tokio::join!(server.get(&ada.id), rename(&server, &ada.id, "Ada"), async {
            let waiting = "wait_event_type = 'Lock'";
            eventually("both calls wait", async || backends(&t, waiting).await.len() == 2).await;
            assert_eq!(terminate(&t, waiting).await, 2);
            blocker.release().await;
        });

    read.unwrap();
    assert_eq!(renamed.unwrap().full_name, "Ada");
}
