//! `grpc.health.v1.Health/Check`.

use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;

use super::outage::Outage;
use super::{FOLLOWERS, LIVENESS};
use crate::support::{Behaviour, PostgresCluster, Test, behaviours, postgres_only};

pub fn tests() -> Vec<Behaviour> {
    [
        behaviours![
            h01_known_names_have_a_health_and_unknown_ones_are_not_found,
            csl_07_the_health_follows_the_database_and_recovers_by_itself,
        ],
        postgres_only![csl_07_the_health_follows_a_server_that_is_stopped_and_started],
    ]
    .concat()
}

async fn h01_known_names_have_a_health_and_unknown_ones_are_not_found(t: Test) {
    let server = t.start().await;

    for name in FOLLOWERS.into_iter().chain([LIVENESS]) {
        assert_eq!(
            server.health_of(name).await.unwrap(),
            ServingStatus::Serving,
            "{name}"
        );
    }
    let names = [
        "nope",
        "Liveness",
        "identity.v1",
        "identity.v1.UserService ",
        "grpc.health.v1.Health",
    ];
    for name in names {
        let failure = server.health_of(name).await.expect_err(name);
        assert_eq!(
            (failure.code(), failure.reason().as_str()),
            (Code::NotFound, "SERVICE_NOT_FOUND")
        );
        // Nothing that could be used to learn something, not even what was asked for.
        assert_eq!(failure.message(), "there is no service of that name");
        assert!(
            failure.resource().is_none() && failure.fields().is_empty(),
            "{failure:?}"
        );
    }
}

async fn csl_07_the_health_follows_the_database_and_recovers_by_itself(t: Test) {
    let outage = Outage::of(&t).await;
    let server = outage.start_server(&t, &[]).await;
    let ada = server.create_user("ada@example.com").await;

    outage.begin();
    server.wait_until_not_serving().await;
    for name in FOLLOWERS {
        assert_eq!(
            server.health_of(name).await.unwrap(),
            ServingStatus::NotServing,
            "{name}"
        );
    }

    outage.end();
    server.wait_until_serving().await;
    for name in FOLLOWERS {
        assert_eq!(
            server.health_of(name).await.unwrap(),
            ServingStatus::Serving,
            "{name}"
        );
    }
    assert_eq!(server.get(&ada.id).await.unwrap(), ada);
}

async fn csl_07_the_health_follows_a_server_that_is_stopped_and_started(t: Test) {
    let cluster = PostgresCluster::start(&[]).await;
    let url = cluster.url("postgres");
    let server = t.start_with(&[("DATABASE_URL", &url)]).await;
    let ada = server.create_user("ada@example.com").await;

    for _ in 0..2 {
        cluster.stop().await;
        server.wait_until_not_serving().await;
        cluster.start_again().await;
        server.wait_until_serving().await;
        assert_eq!(server.get(&ada.id).await.unwrap(), ada);
    }
}
