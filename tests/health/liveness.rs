//! The name `liveness`, which orchestrators restart a process by.

use tonic_health::pb::health_check_response::ServingStatus;

use super::LIVENESS;
use super::outage::Outage;
use crate::support::{Behaviour, Test, behaviours};

pub fn tests() -> Vec<Behaviour> {
    behaviours![h05_the_liveness_stays_serving_while_the_database_is_away]
}

/// Otherwise an outage of the database would get every replica restarted, over and over.
async fn h05_the_liveness_stays_serving_while_the_database_is_away(t: Test) {
    let outage = Outage::of(&t).await;
    let server = outage.start_server(&t, &[]).await;

    outage.begin();
    server.wait_until_not_serving().await;

    assert_eq!(server.health_of(LIVENESS).await.unwrap(), ServingStatus::Serving);
    assert_eq!(server.health_of("").await.unwrap(), ServingStatus::NotServing);
}
