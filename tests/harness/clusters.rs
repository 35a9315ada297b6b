//! Clusters of PostgreSQL that belong to one test.

use tokio::net::TcpStream;

use crate::support::{Behaviour, PostgresCluster, eventually, plain};

pub fn tests() -> Vec<Behaviour> {
    plain![
        a_cluster_survives_a_stop_and_a_crash,
        a_cluster_can_ask_for_a_password,
        a_cluster_can_offer_tls,
        a_dropped_cluster_leaves_nothing,
        a_replica_follows_its_primary,
    ]
}

async fn a_cluster_survives_a_stop_and_a_crash() {
    let cluster = PostgresCluster::start(&[("work_mem", "5MB")]).await;
    cluster
        .psql("postgres", "CREATE TABLE t (x int); INSERT INTO t VALUES (1)")
        .await
        .unwrap();

    cluster.stop().await;
    assert!(TcpStream::connect(cluster.address()).await.is_err());
    cluster.start_again().await;
    cluster.kill_postmaster().await;
    cluster.start_again().await;

    assert_eq!(value(&cluster, "SELECT x FROM t").await, "1");
    assert_eq!(value(&cluster, "SHOW work_mem").await, "5MB");
}

async fn a_cluster_can_ask_for_a_password() {
    let cluster = PostgresCluster::start_with_password("it's a secret").await;
    let url = cluster.url("postgres");
    let wrong_url = url.replace("secret", "guess");

    assert!(tokio_postgres::connect(&url, tokio_postgres::NoTls).await.is_ok());
    assert!(
        tokio_postgres::connect(&wrong_url, tokio_postgres::NoTls)
            .await
            .is_err()
    );
}

async fn a_cluster_can_offer_tls() {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let cluster = PostgresCluster::start(&[]).await;

    cluster
        .enable_tls(&certified.cert.pem(), &certified.signing_key.serialize_pem())
        .await;

    assert_eq!(value(&cluster, "SHOW ssl").await, "on");
}

async fn a_dropped_cluster_leaves_nothing() {
    let cluster = PostgresCluster::start(&[]).await;
    let (address, data_dir) = (cluster.address(), cluster.data_dir());

    drop(cluster);

    assert!(TcpStream::connect(address).await.is_err());
    assert!(!data_dir.parent().unwrap().exists());
}

async fn a_replica_follows_its_primary() {
    let primary = PostgresCluster::start(&[]).await;
    primary.psql("postgres", "CREATE TABLE t (x int)").await.unwrap();
    let replica = primary.basebackup_replica().await;

    primary
        .psql("postgres", "INSERT INTO t VALUES (7)")
        .await
        .unwrap();

    eventually("the row is on the replica", async || {
        let rows = replica.psql("postgres", "SELECT x FROM t").await.unwrap();
        rows == [[Some("7".to_owned())]]
    })
    .await;
    let refused = replica
        .psql("postgres", "INSERT INTO t VALUES (8)")
        .await
        .unwrap_err();
    assert!(refused.contains("read-only"), "{refused}");
}

async fn value(cluster: &PostgresCluster, query: &str) -> String {
    let rows = cluster.psql("postgres", query).await.unwrap();
    rows[0][0].clone().unwrap()
}
