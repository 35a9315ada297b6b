//! Services that are known by their client certificate.

use std::fs;

use identity::proto::identity::v1::{ActorKind, ListUserEventsRequest};
use rustls::ClientConfig;
use tonic::Code;

use crate::support::certificates::Authority;
use crate::support::{AUTH, Behaviour, Clients, PASSWORD, Test, TestServer, behaviours, eventually};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        a_service_is_known_by_the_names_in_its_certificate,
        a_certificate_that_nobody_gave_scopes_opens_nothing,
        a_token_comes_before_the_certificate,
        changes_are_on_record_under_the_name_in_the_certificate,
    ]
}

const TASKS: &str = "spiffe://example.org/tasks";
const GATEWAY: &str = "gateway.example.org";

/// A server that asks for client certificates, and who vouches for whom.
struct World {
    server: TestServer,
    authority: Authority,
    clients: Authority,
}

async fn world(t: &Test) -> World {
    let (authority, clients) = (Authority::new(), Authority::new());
    let (certificate, key) = authority.identity(&["localhost"], &[]).write(t.directory());
    let client_authority = t.directory().join("clients.pem");
    fs::write(&client_authority, clients.pem()).unwrap();
    let callers = format!("{TASKS}=users.write,auth.sign_in; {GATEWAY}=admin");
    let server = t
        .launch(&[
            AUTH,
            ("IDENTITY_TLS_CERT_FILE", &certificate.display().to_string()),
            ("IDENTITY_TLS_KEY_FILE", &key.display().to_string()),
            (
                "IDENTITY_TLS_CLIENT_CA_FILE",
                &client_authority.display().to_string(),
            ),
            ("IDENTITY_TLS_CALLERS", &callers),
        ])
        .await
        .expect("the server starts");
    eventually("the server is healthy", async || {
        server.http_get("/health").await.0 == 200
    })
    .await;
    World {
        server,
        authority,
        clients,
    }
}

impl World {
    /// Returns clients with a certificate of these names.
    fn named(&self, hosts: &[&str], uris: &[&str]) -> Clients {
        let identity = self.clients.identity(hosts, uris);
        let config: ClientConfig = self.authority.client(Some(&identity));
        self.server.over_tls(config)
    }
}

async fn a_service_is_known_by_the_names_in_its_certificate(t: Test) {
    let world = world(&t).await;
    let tasks = world.named(&[], &[TASKS]);
    let ada = tasks.create_user("ada@example.com").await;
    let failure = tasks.get(&ada.id).await.unwrap_err();
    assert_eq!(failure.code(), Code::PermissionDenied);
    assert_eq!(failure.metadata("scope").as_deref(), Some("users.read"));

    // One known name among others is enough.
    let gateway = world.named(&["other.example.org", GATEWAY], &[]);
    assert_eq!(gateway.get(&ada.id).await.unwrap(), ada);
}

async fn a_certificate_that_nobody_gave_scopes_opens_nothing(t: Test) {
    let world = world(&t).await;
    for (hosts, uris) in [
        (&["tasks.example.org"][..], &[][..]),
        (&[], &["spiffe://example.org/tasks/more"]),
        (&[], &["spiffe://example.org/TASKS"]),
        // The same text as a name of another kind.
        (&["sub.gateway.example.org"], &[]),
        (&[], &["https://gateway.example.org"]),
    ] {
        let stranger = world.named(hosts, uris);
        assert!(stranger.is_serving().await);
        let failure = stranger.get("nobody").await.unwrap_err();
        assert_eq!(
            (failure.code(), failure.reason().as_str()),
            (Code::Unauthenticated, "TOKEN_REQUIRED"),
            "{hosts:?} {uris:?}"
        );
    }
}

async fn a_token_comes_before_the_certificate(t: Test) {
    let world = world(&t).await;
    let gateway = world.named(&[GATEWAY], &[]);
    let (ada, tokens) = gateway.signed_in("ada@example.com").await;
    let bob = gateway.create_user("bob@example.com").await;

    let as_ada = gateway.with_token(&tokens.access_token);

    assert_eq!(as_ada.get(&ada.id).await.unwrap().id, ada.id);
    assert_eq!(as_ada.get(&bob.id).await.unwrap_err().code(), Code::NotFound);
    let forged = gateway.with_token("ids_0").get(&ada.id).await.unwrap_err();
    assert_eq!(forged.reason(), "TOKEN_INVALID");
    gateway.sign_in("ada@example.com", PASSWORD).await.unwrap();
}

async fn changes_are_on_record_under_the_name_in_the_certificate(t: Test) {
    let world = world(&t).await;
    world.named(&[], &[TASKS]).create_user("ada@example.com").await;

    let gateway = world.named(&[GATEWAY], &[]);
    let response = gateway
        .security()
        .list_user_events(ListUserEventsRequest::default())
        .await
        .unwrap();

    let [event] = response.into_inner().user_events.try_into().unwrap();
    let actor = event.actor.unwrap();
    assert_eq!(
        (actor.kind(), actor.name.as_str()),
        (ActorKind::Certificate, TASKS)
    );
}
