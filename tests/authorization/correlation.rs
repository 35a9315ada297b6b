//! What ties together the log lines and answers of one call.

use identity::proto::identity::v1::GetUserRequest;
use tonic::Request;
use tonic::metadata::MetadataMap;

use crate::support::{Behaviour, Clients, Test, behaviours};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        an_answer_has_the_id_that_the_caller_chose,
        an_answer_has_an_id_of_its_own_otherwise,
        the_log_has_both_ids,
    ]
}

/// Calls with metadata, and returns the metadata of the answer.
async fn call(clients: &Clients, user_id: &str, metadata: &[(&'static str, &str)]) -> MetadataMap {
    let mut request = Request::new(GetUserRequest {
        user_id: user_id.to_owned(),
    });
    for (name, value) in metadata {
        request.metadata_mut().insert(*name, value.parse().unwrap());
    }
    match clients.users().get_user(request).await {
        Ok(response) => response.metadata().clone(),
        Err(status) => status.metadata().clone(),
    }
}

fn id_of(metadata: &MetadataMap) -> String {
    metadata.get("x-request-id").unwrap().to_str().unwrap().to_owned()
}

async fn an_answer_has_the_id_that_the_caller_chose(t: Test) {
    let server = t.start().await;
    let ada = server.create_user("ada@example.com").await;
    for user_id in [ada.id.as_str(), "nonsense"] {
        let answer = call(&server, user_id, &[("x-request-id", "order-66/7")]).await;
        assert_eq!(id_of(&answer), "order-66/7");
    }
}

async fn an_answer_has_an_id_of_its_own_otherwise(t: Test) {
    let server = t.start().await;
    let first = id_of(&call(&server, "nonsense", &[]).await);
    let second = id_of(&call(&server, "nonsense", &[]).await);
    assert_ne!(first, second);
    let long = "x".repeat(129);
    for strange in ["a b", "{\"a\":1}", &long] {
        let answer = call(&server, "nonsense", &[("x-request-id", strange)]).await;
        assert_ne!(id_of(&answer), strange);
    }
}

async fn the_log_has_both_ids(t: Test) {
    let mut process = t.spawn(&[("IDENTITY_LOG", "debug")], &["serve"]);
    process.wait_until_serving().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");

    call(
        &process,
        "nonsense",
        &[("x-request-id", "order-66"), ("traceparent", &parent)],
    )
    .await;

    let log = process.stderr();
    let line = log
        .lines()
        .find(|line| line.contains("call answered") && line.contains("order-66"))
        .unwrap_or_else(|| panic!("{log}"));
    assert!(
        line.contains(trace) && line.contains("UserService/GetUser"),
        "{line}"
    );
}
