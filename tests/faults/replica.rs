//! Reads on a replica, none of which is out of date.

use futures_util::future::join_all;

use super::{metric, rename};
use crate::support::{Behaviour, Clients, PostgresCluster, Test, TestServer, eventually, postgres_only};

pub fn tests() -> Vec<Behaviour> {
    postgres_only![
        todo_11_reads_go_to_the_replica_once_it_has_caught_up,
        d10_a_caller_reads_its_own_writes_while_the_replica_lags,
        d10_a_replica_that_stops_is_done_without,
        d10_a_server_that_is_no_replica_is_not_read_from,
        d10_a_replica_that_is_away_at_the_start_is_used_when_it_comes,
        d10_reads_fail_rather_than_be_out_of_date_while_the_primary_is_away,
    ]
}

const ON_REPLICA: &str = "identity_database_reads_total{server=\"replica\"}";
const ON_PRIMARY: &str = "identity_database_reads_total{server=\"primary\"}";

/// A primary and a replica of it.
async fn cluster_with_replica() -> (PostgresCluster, PostgresCluster) {
    let primary = PostgresCluster::start(&[]).await;
    let replica = primary.basebackup_replica().await;
    (primary, replica)
}

async fn start(t: &Test, primary: &PostgresCluster, replica: &PostgresCluster) -> TestServer {
    t.start_with(&[
        ("DATABASE_URL", &primary.url("postgres")),
        ("DATABASE_REPLICA_URL", &replica.url("postgres")),
    ])
    .await
}

async fn wait_until_read_from_replica(clients: &Clients, id: &str) {
    eventually("a read goes to the replica", async || {
        let before = metric(clients, ON_REPLICA).await;
        clients.get(id).await.unwrap();
        metric(clients, ON_REPLICA).await > before
    })
    .await;
}

/// Keeps the replica from replaying what it receives.
async fn pause(replica: &PostgresCluster) {
    replica
        .psql("postgres", "SELECT pg_wal_replay_pause()")
        .await
        .unwrap();
    eventually("the replay is paused", async || {
        let rows = replica
            .psql("postgres", "SELECT pg_get_wal_replay_pause_state()")
            .await
            .unwrap();
        rows == [[Some("paused".to_owned())]]
    })
    .await;
}

async fn todo_11_reads_go_to_the_replica_once_it_has_caught_up(t: Test) {
    let (primary, replica) = cluster_with_replica().await;
    let server = start(&t, &primary, &replica).await;
    let ada = server.create_user("ada@example.com").await;

    wait_until_read_from_replica(&server, &ada.id).await;

    // Nothing is written, so the replica stays up to date.
    let before = metric(&server, ON_REPLICA).await;
    for read in join_all((0..50).map(|_| server.get(&ada.id))).await {
        assert_eq!(read.unwrap(), ada);
    }
    assert!(metric(&server, ON_REPLICA).await > before);
    // Writes go to the primary, whatever the reads do.
    rename(&server, &ada.id, "Ada").await.unwrap();
    assert_eq!(server.get(&ada.id).await.unwrap().full_name, "Ada");
}

async fn d10_a_caller_reads_its_own_writes_while_the_replica_lags(t: Test) {
    let (primary, replica) = cluster_with_replica().await;
    let server = start(&t, &primary, &replica).await;
    let other_server = start(&t, &primary, &replica).await;
    let ada = server.create_user("ada@example.com").await;
    wait_until_read_from_replica(&server, &ada.id).await;
    wait_until_read_from_replica(&other_server, &ada.id).await;

    pause(&replica).await;
    rename(&server, &ada.id, "Lagging").await.unwrap();
    let before = metric(&server, ON_REPLICA).await + metric(&other_server, ON_REPLICA).await;
    for round in 0..20 {
        let name = format!("Ada {round}");
        rename(&server, &ada.id, &name).await.unwrap();
        assert_eq!(server.get(&ada.id).await.unwrap().full_name, name);
        assert_eq!(other_server.get(&ada.id).await.unwrap().full_name, name);
        let user = other_server.create_user(&format!("{round}@example.com")).await;
        assert_eq!(server.get(&user.id).await.unwrap(), user);
    }
    let after = metric(&server, ON_REPLICA).await + metric(&other_server, ON_REPLICA).await;
    assert_eq!(after, before);
    assert!(metric(&server, ON_PRIMARY).await >= 40);

    replica
        .psql("postgres", "SELECT pg_wal_replay_resume()")
        .await
        .unwrap();
    wait_until_read_from_replica(&server, &ada.id).await;
    wait_until_read_from_replica(&other_server, &ada.id).await;
    assert_eq!(server.get(&ada.id).await.unwrap().full_name, "Ada 19");
}

async fn d10_a_replica_that_stops_is_done_without(t: Test) {
    let (primary, replica) = cluster_with_replica().await;
    let server = start(&t, &primary, &replica).await;
    let ada = server.create_user("ada@example.com").await;
    wait_until_read_from_replica(&server, &ada.id).await;

    replica.stop().await;

    // If each of them waited for the replica, the test would not end in time.
    for round in 0..100 {
        assert_eq!(server.get(&ada.id).await.unwrap().id, ada.id);
        if round % 10 == 0 {
            rename(&server, &ada.id, &format!("Ada {round}")).await.unwrap();
        }
    }
    assert!(server.is_serving().await);

    replica.start_again().await;
    wait_until_read_from_replica(&server, &ada.id).await;
    assert_eq!(server.get(&ada.id).await.unwrap().full_name, "Ada 90");
}

async fn d10_a_server_that_is_no_replica_is_not_read_from(t: Test) {
    let primary = PostgresCluster::start(&[]).await;
    primary.psql("postgres", "CREATE DATABASE other").await.unwrap();
    for database in ["postgres", "other"] {
        let server = t
            .start_with(&[
                ("DATABASE_URL", &primary.url("postgres")),
                ("DATABASE_REPLICA_URL", &primary.url(database)),
            ])
            .await;
        let ada = server.create_user(&format!("{database}@example.com")).await;

        for _ in 0..20 {
            assert_eq!(server.get(&ada.id).await.unwrap(), ada);
        }

        assert_eq!(metric(&server, ON_REPLICA).await, 0);
        assert!(metric(&server, ON_PRIMARY).await >= 20);
    }
}

async fn d10_a_replica_that_is_away_at_the_start_is_used_when_it_comes(t: Test) {
    let (primary, replica) = cluster_with_replica().await;
    replica.stop().await;
    let server = start(&t, &primary, &replica).await;
    let ada = server.create_user("ada@example.com").await;
    assert_eq!(server.get(&ada.id).await.unwrap(), ada);

    replica.start_again().await;

    wait_until_read_from_replica(&server, &ada.id).await;
}

async fn d10_reads_fail_rather_than_be_out_of_date_while_the_primary_is_away(t: Test) {
    let (primary, replica) = cluster_with_replica().await;
    let server = start(&t, &primary, &replica).await;
    let ada = server.create_user("ada@example.com").await;
    wait_until_read_from_replica(&server, &ada.id).await;

    primary.stop().await;

    let failure = server.get(&ada.id).await.unwrap_err();
    assert_eq!(failure.reason(), "DATABASE_UNAVAILABLE");
    primary.start_again().await;
    server.wait_until_serving().await;
    assert_eq!(server.get(&ada.id).await.unwrap(), ada);
}
