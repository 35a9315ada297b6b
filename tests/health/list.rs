//! `grpc.health.v1.Health/List`.

use std::collections::BTreeMap;

use identity::proto::grpc::health::v1::HealthListRequest;
use tonic_health::pb::health_check_response::ServingStatus;

use super::outage::Outage;
use super::{FOLLOWERS, LIVENESS};
use crate::support::{Behaviour, Clients, Test, behaviours};

pub fn tests() -> Vec<Behaviour> {
    behaviours![every_name_is_listed_with_its_present_health]
}

async fn every_name_is_listed_with_its_present_health(t: Test) {
    let outage = Outage::of(&t).await;
    let server = outage.start_server(&t, &[]).await;
    assert_eq!(list(&server).await, expected(ServingStatus::Serving));

    outage.begin();
    server.wait_until_not_serving().await;

    assert_eq!(list(&server).await, expected(ServingStatus::NotServing));
}

fn expected(followers: ServingStatus) -> BTreeMap<String, ServingStatus> {
    FOLLOWERS
        .into_iter()
        .map(|name| (name.to_owned(), followers))
        .chain([(LIVENESS.to_owned(), ServingStatus::Serving)])
        .collect()
}

async fn list(clients: &Clients) -> BTreeMap<String, ServingStatus> {
    let response = clients.health().list(HealthListRequest {}).await.unwrap();
    let statuses = response.into_inner().statuses;
    statuses
        .into_iter()
        .map(|(name, health)| (name, health.status()))
        .collect()
}
