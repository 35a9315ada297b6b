//! Servers that do not ask who is calling.

use tonic::Code;

use crate::support::{Behaviour, Test, behaviours};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        whoever_shows_nothing_may_call_everything,
        whoever_shows_something_is_held_to_it,
        a_server_beyond_loopback_does_not_start,
        the_start_warns,
    ]
}

async fn whoever_shows_nothing_may_call_everything(t: Test) {
    let server = t.start().await;
    let ada = server.create_user("ada@example.com").await;
    assert_eq!(server.get(&ada.id).await.unwrap(), ada);
}

async fn whoever_shows_something_is_held_to_it(t: Test) {
    let server = t.start().await;
    let (ada, tokens) = server.signed_in("ada@example.com").await;
    let bob = server.create_user("bob@example.com").await;
    let as_ada = server.with_token(&tokens.access_token);
    assert_eq!(as_ada.get(&ada.id).await.unwrap(), ada);
    assert_eq!(as_ada.get(&bob.id).await.unwrap_err().code(), Code::NotFound);
    let reader = server.with_token(&t.service_token("reader", &["status.read"]).await);
    assert_eq!(
        reader.get(&ada.id).await.unwrap_err().code(),
        Code::PermissionDenied
    );
    let nobody = server.with_token("ids_0");
    assert_eq!(
        nobody.get(&ada.id).await.unwrap_err().code(),
        Code::Unauthenticated
    );
}

async fn a_server_beyond_loopback_does_not_start(t: Test) {
    let variables = [("IDENTITY_LISTEN", "0.0.0.0:0"), ("IDENTITY_TLS", "off")];
    let (code, _, stderr) = t.run(&variables, &["serve"]).await;
    assert_eq!(code, 64);
    assert!(
        stderr.contains("IDENTITY_AUTH: can be off only if IDENTITY_LISTEN is a loopback address"),
        "{stderr}"
    );
}

async fn the_start_warns(t: Test) {
    let mut process = t.spawn(&[], &["serve"]);
    process.wait_until_serving().await;
    assert!(
        process.stderr().contains("IDENTITY_AUTH is off"),
        "{}",
        process.stderr()
    );
    let mut asking = t.spawn(&[crate::support::AUTH], &["serve"]);
    asking.wait_until_serving().await;
    assert!(!asking.stderr().contains("IDENTITY_AUTH is off"));
}
