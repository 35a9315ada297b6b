//! Who is on record: whoever the credential says, and in which call.

use identity::clock::{Clock, SystemClock};
use identity::domain::{
    Actor, ActorKind as Kind, Command, CorrelationId, ListUserEvents, Origin, ServiceName,
    UserEventFilter as DomainFilter, UserId,
};
use identity::proto::identity::v1::{
    Actor as ActorMessage, ActorKind, CreateUserRequest, User, UserEventFilter,
};
use identity::repositories::{UserEventRepository, UserRepository};
use prost::Message;

use super::calls::{events, history};
use crate::security::raw::RawCall;
use crate::support::{AUTH, Behaviour, Clients, Test, behaviours};
use crate::systems::repository::{database, new_named};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        a10_what_a_caller_says_of_itself_changes_nothing,
        a10_whoever_is_not_recognised_is_not_on_record,
        every_kind_of_actor_can_be_on_record,
        the_call_is_on_record,
    ]
}

const CREATE_USER: &str = "/identity.v1.UserService/CreateUser";

fn creation(email: &str) -> Vec<u8> {
    CreateUserRequest {
        user: Some(User {
            email: email.to_owned(),
            ..User::default()
        }),
        ..CreateUserRequest::default()
    }
    .encode_to_vec()
}

async fn actors(clients: &Clients) -> Vec<ActorMessage> {
    let found = events(clients, UserEventFilter::default()).await.unwrap();
    found.into_iter().filter_map(|event| event.actor).collect()
}

/// Names under which proxies and other services pass a caller on.
const CLAIMS: [&str; 10] = [
    "x-actor",
    "x-actor-name",
    "actor",
    "x-identity-actor",
    "x-user-id",
    "x-forwarded-user",
    "x-forwarded-client-cert",
    "x-remote-user",
    "updated-by",
    "from",
];

async fn a10_what_a_caller_says_of_itself_changes_nothing(t: Test) {
    let server = t.start_with(&[AUTH]).await;
    let orders = t.service_token("orders", &["users.write", "events.read"]).await;
    let mut call = RawCall::new(CREATE_USER, &creation("ada@example.com"))
        .header("authorization", &format!("Bearer {orders}"));
    for name in CLAIMS {
        call = call.header(name, "service:admin");
    }

    call.send(&server).await.unwrap();

    let expected = ActorMessage {
        kind: ActorKind::Service.into(),
        name: "orders".to_owned(),
    };
    assert_eq!(actors(&server.with_token(&orders)).await, [expected]);
    let stored = t.sql_value("SELECT actor_name AS value FROM user_events").await;
    assert_eq!(stored.as_deref(), Some("orders"));

    // Nor where nobody is asked.
    let open = t.start().await;
    let mut anonymous = RawCall::new(CREATE_USER, &creation("bob@example.com"));
    for name in CLAIMS {
        anonymous = anonymous.header(name, "service:admin");
    }
    anonymous.send(&open).await.unwrap();
    let newest = actors(&open).await.swap_remove(0);
    assert_eq!((newest.kind(), newest.name.as_str()), (ActorKind::Anonymous, ""));
}

async fn a10_whoever_is_not_recognised_is_not_on_record(t: Test) {
    let server = t.start_with(&[AUTH]).await;
    let reader = t.service_token("reader", &["users.read"]).await;
    for token in ["", "ids_nobody's", &reader] {
        let mut call = RawCall::new(CREATE_USER, &creation("ada@example.com"));
        if !token.is_empty() {
            call = call.header("authorization", &format!("Bearer {token}"));
        }
        call.send(&server).await.unwrap_err();
    }

    let events = t.sql_value("SELECT count(*) AS value FROM user_events").await;
    assert_eq!(events.as_deref(), Some("0"));
}

async fn every_kind_of_actor_can_be_on_record(t: Test) {
    let database = database(&t, &[]);
    database.migrate_up(&SystemClock).await.unwrap();
    let users = UserRepository::new(database.clone());
    let recorded = UserEventRepository::new(database);
    let user_id = UserId::generate(SystemClock.now());
    // As long as a name in a certificate can be.
    let longest = format!("spiffe://example.org/{}", "x".repeat(255 - 21));
    let actors = [
        (Actor::Anonymous, None),
        (
            Actor::Service(ServiceName::parse("orders").unwrap()),
            Some("orders".to_owned()),
        ),
        (Actor::Certificate(longest.clone()), Some(longest)),
        (Actor::User(user_id), Some(user_id.to_string())),
        (Actor::Operator, None),
        (Actor::System, None),
    ];
    for (number, (actor, name)) in actors.into_iter().enumerate() {
        let kind: Kind = actor.kind();
        let origin = Origin {
            actor,
            correlation_id: CorrelationId::parse(&format!("command/{number}")).unwrap(),
        };
        let new = new_named(&format!("{number}@example.com")).value;
        let created = users.create(Command::new(new, origin.clone())).await.unwrap();

        let list = ListUserEvents {
            filter: DomainFilter {
                user_id: Some(created.id),
                ..DomainFilter::default()
            },
            after: None,
            limit: 10,
        };
        let [event] = recorded.list(list).await.unwrap().try_into().expect("an event");
        assert_eq!((event.actor.kind, event.actor.name), (kind, name));
        assert_eq!(event.correlation_id, origin.correlation_id);
        assert_eq!(event.occurred_at, created.created_at);
    }
}

async fn the_call_is_on_record(t: Test) {
    let server = t.start().await;
    for (email, chosen) in [
        ("ada@example.com", Some("req-1/2:3")),
        ("bob@example.com", None),
        // What cannot be a correlation id is not kept either.
        ("eve@example.com", Some("eve@example.com")),
    ] {
        let message = CreateUserRequest::decode(creation(email).as_slice()).unwrap();
        let mut request = tonic::Request::new(message);
        if let Some(id) = chosen {
            request.metadata_mut().insert("x-request-id", id.parse().unwrap());
        }
        let response = server.users().create_user(request).await.unwrap();
        let answered = response.metadata().get("x-request-id").unwrap();
        let answered = answered.to_str().unwrap().to_owned();
        let user = response.into_inner().user.unwrap();

        let [event] = history(&server, &user.id).await.try_into().expect("an event");
        assert_eq!(event.correlation_id, answered);
        assert_eq!(chosen == Some(&answered), chosen == Some("req-1/2:3"));
    }
}
