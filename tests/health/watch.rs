//! `grpc.health.v1.Health/Watch`.

use futures_util::FutureExt;
use identity::proto::identity::v1::GetStatusRequest;
use prost_types::Timestamp;
use tonic::Streaming;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::outage::Outage;
use super::{FOLLOWERS, LIVENESS};
use crate::support::{Behaviour, Clients, Test, behaviours, eventually};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        h02_an_unknown_name_is_service_unknown_and_the_stream_stays_open,
        h03_every_watcher_sees_each_settled_state_once,
        watchers_of_the_liveness_hear_nothing_of_an_outage,
        watchers_hear_that_the_server_ends,
    ]
}

/// Long enough for a probe to be answered on a machine that is busy with other tests: one that is not would
/// be an outage of its own.
const INTERVAL: (&str, &str) = ("IDENTITY_HEALTH_INTERVAL", "600ms");

async fn h02_an_unknown_name_is_service_unknown_and_the_stream_stays_open(t: Test) {
    let outage = Outage::of(&t).await;
    let server = outage.start_server(&t, &[INTERVAL]).await;
    let mut known = Watcher::of(&server, "").await;
    let mut unknown = Watcher::of(&server, "nope").await;
    assert_eq!(unknown.next().await, ServingStatus::ServiceUnknown);
    assert_eq!(known.next().await, ServingStatus::Serving);

    outage.begin();
    assert_eq!(known.next().await, ServingStatus::NotServing);

    unknown.assert_silent();
}

async fn h03_every_watcher_sees_each_settled_state_once(t: Test) {
    const OUTAGES: usize = 20;
    let outage = Outage::of(&t).await;
    let server = outage.start_server(&t, &[INTERVAL]).await;
    let mut watchers = Vec::new();
    for name in FOLLOWERS.into_iter().chain(["", ""]) {
        let mut watcher = Watcher::of(&server, name).await;
        assert_eq!(watcher.next().await, ServingStatus::Serving, "{name:?}");
        watchers.push(watcher);
    }

    for number in 0..OUTAGES {
        outage.begin();
        assert_all(&mut watchers, ServingStatus::NotServing).await;
        // Once in a while the state lasts, and is confirmed by more probes, which watchers do not hear of.
        let lasts = number % 10 == 0;
        if lasts {
            wait_for_probes(&server).await;
        }
        // Who comes now hears how it is at once.
        let mut late = Watcher::of(&server, "").await;
        assert_eq!(late.next().await, ServingStatus::NotServing);

        outage.end();
        assert_all(&mut watchers, ServingStatus::Serving).await;
        assert_eq!(late.next().await, ServingStatus::Serving);
        if lasts {
            wait_for_probes(&server).await;
        }
    }

    assert!(server.is_serving().await);
    watchers.iter_mut().for_each(Watcher::assert_silent);
}

async fn watchers_of_the_liveness_hear_nothing_of_an_outage(t: Test) {
    let outage = Outage::of(&t).await;
    let server = outage.start_server(&t, &[INTERVAL]).await;
    let mut liveness = Watcher::of(&server, LIVENESS).await;
    assert_eq!(liveness.next().await, ServingStatus::Serving);

    outage.begin();
    server.wait_until_not_serving().await;
    outage.end();
    server.wait_until_serving().await;

    liveness.assert_silent();
}

async fn watchers_hear_that_the_server_ends(t: Test) {
    let server = t.start_with(&[("IDENTITY_DRAIN_TIME", "1s")]).await;
    let mut watcher = Watcher::of(&server, "identity.v1.UserService").await;
    assert_eq!(watcher.next().await, ServingStatus::Serving);

    let ((), last) = tokio::join!(server.shutdown(), watcher.next());

    assert_eq!(last, ServingStatus::NotServing);
}

/// Waits until the database has been probed a few times more.
async fn wait_for_probes(clients: &Clients) {
    for _ in 0..3 {
        let before = last_probe(clients).await;
        eventually("the database is probed", async || {
            last_probe(clients).await != before
        })
        .await;
    }
}

async fn last_probe(clients: &Clients) -> Option<Timestamp> {
    let status = clients.status().get_status(GetStatusRequest {}).await.unwrap();
    status.into_inner().database.unwrap().probe_time
}

async fn assert_all(watchers: &mut [Watcher], expected: ServingStatus) {
    for watcher in watchers {
        assert_eq!(watcher.next().await, expected, "{:?}", watcher.name);
    }
}

struct Watcher {
    name: String,
    stream: Streaming<HealthCheckResponse>,
}

impl Watcher {
    async fn of(clients: &Clients, name: &str) -> Self {
        let request = HealthCheckRequest {
            service: name.to_owned(),
        };
        let response = clients.health().watch(request).await.unwrap();
        Self {
            name: name.to_owned(),
            stream: response.into_inner(),
        }
    }

    /// Waits for the next message.
    async fn next(&mut self) -> ServingStatus {
        let message = self.stream.message().await.unwrap();
        message.expect("the stream stays open").status()
    }

    /// Nothing more has come, neither a message nor the end.
    fn assert_silent(&mut self) {
        let more = self.stream.message().now_or_never();
        assert!(more.is_none(), "{:?}: {more:?}", self.name);
    }
}
