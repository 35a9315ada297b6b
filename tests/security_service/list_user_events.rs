//! `ListUserEvents`: how the list is narrowed and read in pages.

use chrono::TimeDelta;
use futures_util::future::join_all;
use identity::proto::identity::v1::{
    Actor, ActorKind, ListLoginAttemptsRequest, ListUserEventsRequest, User, UserEvent, UserEventFilter,
    UserEventType,
};
use tonic::Code;

use super::calls::{event_page, events, history_types, page};
use crate::session_service::calls::{block, delete, unblock};
use crate::support::{AUTH, Backend, Behaviour, Clients, Failure, Test, behaviours};
use crate::user_service::calls::{NOBODY, assert_failed, assert_refused, count, update};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        filters_narrow_the_list_together,
        actors_are_told_apart_by_kind_and_name,
        the_history_of_a_deleted_user_can_be_read,
        pages_hold_every_event_once,
        pages_are_stable_while_users_change,
        g01_a_page_token_belongs_to_its_list_and_filter,
        g02_page_sizes_are_bounded,
        a_bad_filter_is_refused,
    ]
}

fn none() -> UserEventFilter {
    UserEventFilter::default()
}

async fn all(clients: &Clients) -> Vec<UserEvent> {
    events(clients, none()).await.unwrap()
}

fn of_types(types: &[UserEventType]) -> UserEventFilter {
    UserEventFilter {
        types: types.iter().map(|event_type| (*event_type).into()).collect(),
        ..none()
    }
}

/// Makes events of two users: created, created, blocked, unblocked, blocked, with a minute between them.
async fn make_events(clients: &Clients, t: &Test) -> [User; 2] {
    let minute = TimeDelta::minutes(1);
    let ada = clients.create_user("ada@example.com").await;
    t.clock.advance(minute);
    let bob = clients.create_user("bob@example.com").await;
    t.clock.advance(minute);
    block(clients, &ada.id).await.unwrap();
    t.clock.advance(minute);
    unblock(clients, &ada.id).await.unwrap();
    t.clock.advance(minute);
    block(clients, &bob.id).await.unwrap();
    [ada, bob]
}

async fn filters_narrow_the_list_together(t: Test) {
    let server = t.start().await;
    let [ada, bob] = make_events(&server, &t).await;
    let everything = all(&server).await;
    assert_eq!(everything.len(), 5);
    let (created, blocked) = (UserEventType::UserCreated, UserEventType::UserBlocked);
    let middle = everything[2].occur_time;
    let anonymous = Some(Actor {
        kind: ActorKind::Anonymous.into(),
        name: String::new(),
    });
    let of_user = |id: &str| UserEventFilter {
        user_id: id.to_owned(),
        ..none()
    };
    for (filter, expected) in [
        (none(), vec![0, 1, 2, 3, 4]),
        (of_user(&ada.id), vec![1, 2, 4]),
        (of_user(&bob.id.to_uppercase()), vec![0, 3]),
        (of_user(NOBODY), vec![]),
        (of_types(&[blocked]), vec![0, 2]),
        (of_types(&[blocked, created]), vec![0, 2, 3, 4]),
        (of_types(&[blocked, blocked]), vec![0, 2]),
        (of_types(&[UserEventType::PasswordReset]), vec![]),
        (
            UserEventFilter {
                user_id: ada.id.clone(),
                ..of_types(&[blocked, created])
            },
            vec![2, 4],
        ),
        (
            UserEventFilter {
                occurred_from: middle,
                ..none()
            },
            vec![0, 1, 2],
        ),
        (
            UserEventFilter {
                occurred_before: middle,
                ..none()
            },
            vec![3, 4],
        ),
        (
            UserEventFilter {
                occurred_from: middle,
                occurred_before: middle,
                ..none()
            },
            vec![],
        ),
        (
            UserEventFilter {
                actor: anonymous,
                user_id: bob.id.clone(),
                types: vec![created.into()],
                occurred_before: middle,
                ..none()
            },
            vec![3],
        ),
    ] {
        let found = events(&server, filter.clone()).await.unwrap();
        let expected: Vec<UserEvent> = expected
            .into_iter()
            .map(|index: usize| everything[index].clone())
            .collect();
        assert_eq!(found, expected, "{filter:?}");
    }
}

async fn actors_are_told_apart_by_kind_and_name(t: Test) {
    let server = t.start_with(&[AUTH]).await;
    let open = t.start().await;
    let mut services = Vec::new();
    for name in ["orders", "orders.eu", "billing"] {
        let token = t.service_token(name, &["admin"]).await;
        services.push(server.with_token(&token));
    }
    for (number, clients) in services.iter().enumerate() {
        clients.create_user(&format!("{number}@example.com")).await;
    }
    let (ada, tokens) = services[0].signed_in("ada@example.com").await;
    let own = server.with_token(&tokens.access_token);
    let renamed = User {
        id: ada.id.clone(),
        full_name: "Ada".to_owned(),
        ..User::default()
    };
    update(&own, renamed, &["full_name"]).await.unwrap();
    open.create_user("nobody@example.com").await;

    for (kind, name, expected) in [
        (ActorKind::Service, "", 4),
        (ActorKind::Service, "orders", 2),
        (ActorKind::Service, "orders.eu", 1),
        (ActorKind::Service, "Orders", 0),
        (ActorKind::Service, "%", 0),
        (ActorKind::Service, ada.id.as_str(), 0),
        (ActorKind::User, "", 1),
        (ActorKind::User, &ada.id, 1),
        (ActorKind::User, &ada.id.to_uppercase(), 1),
        (ActorKind::User, NOBODY, 0),
        (ActorKind::Certificate, "orders", 0),
        (ActorKind::Anonymous, "", 1),
        (ActorKind::Anonymous, "orders", 0),
        (ActorKind::Operator, "", 0),
        (ActorKind::System, "", 0),
    ] {
        let filter = UserEventFilter {
            actor: Some(Actor {
                kind: kind.into(),
                name: name.to_owned(),
            }),
            ..none()
        };
        let found = events(&open, filter).await.unwrap();
        assert_eq!(found.len(), expected, "{kind:?} {name}");
        assert!(
            found
                .iter()
                .all(|event| event.actor.as_ref().unwrap().kind() == kind)
        );
    }
}

async fn the_history_of_a_deleted_user_can_be_read(t: Test) {
    let server = t.start().await;
    let ada = server.create_user("ada@example.com").await;
    block(&server, &ada.id).await.unwrap();
    delete(&server, &ada.id).await.unwrap();

    let expected = [
        UserEventType::UserCreated,
        UserEventType::UserBlocked,
        UserEventType::UserDeleted,
    ];
    assert_eq!(history_types(&server, &ada.id).await, expected);
    assert_failed(server.get(&ada.id).await, Code::NotFound, "USER_NOT_FOUND");
}

/// Reads page after page. `between` happens after each of them.
async fn read_pages(
    clients: &Clients,
    filter: Option<UserEventFilter>,
    mut between: impl AsyncFnMut(usize),
) -> Vec<UserEvent> {
    let mut found: Vec<UserEvent> = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListUserEventsRequest {
            filter: filter.clone(),
            page_size: 5,
            page_token,
        };
        let next = event_page(clients, request).await.unwrap();
        assert!(next.user_events.len() <= 5);
        found.extend(next.user_events);
        between(found.len()).await;
        if next.next_page_token.is_empty() {
            return found;
        }
        page_token = next.next_page_token;
    }
}

async fn pages_hold_every_event_once(t: Test) {
    let server = t.start().await;
    for number in 0..23 {
        server.create_user(&format!("{number}@example.com")).await;
    }
    // Those of one instant are told apart by their ids.
    t.sql("UPDATE user_events SET occurred_at = (SELECT max(occurred_at) FROM user_events)")
        .await
        .unwrap();
    let everything = all(&server).await;
    assert_eq!(everything.len(), 23);

    // Newer events do not move those that are still to come.
    let found = read_pages(&server, None, async |seen| {
        server.create_user(&format!("new{seen}@example.com")).await;
    })
    .await;

    assert_eq!(found, everything);
}

async fn pages_are_stable_while_users_change(t: Test) {
    let server = t.start().await;
    let replica = t.start().await;
    let mut ids = Vec::new();
    for number in 0..12 {
        ids.push(server.create_user(&format!("{number}@example.com")).await.id);
    }
    let before = all(&server).await;
    let created = Some(of_types(&[
        UserEventType::UserCreated,
        UserEventType::UserBlocked,
    ]));

    // From two servers at once, between any two pages.
    let found = read_pages(&server, created, async |seen| {
        let clients: [&Clients; 2] = [&server, &replica];
        let changes = ids.iter().enumerate().map(|(index, id)| async move {
            let clients = clients[index % 2];
            block(clients, id).await?;
            unblock(clients, id).await?;
            let email = format!("{seen}.{index}@example.com");
            clients.create(crate::support::new_user().email(&email)).await
        });
        for outcome in join_all(changes).await {
            outcome.unwrap();
        }
    })
    .await;

    assert_eq!(
        found, before,
        "what was there at first, each event once, in its order"
    );
}

async fn g01_a_page_token_belongs_to_its_list_and_filter(t: Test) {
    let server = t.start().await;
    make_events(&server, &t).await;
    let blocked = || Some(of_types(&[UserEventType::UserBlocked]));
    let request = |filter: Option<UserEventFilter>, page_token: &str| ListUserEventsRequest {
        filter,
        page_size: 1,
        page_token: page_token.to_owned(),
    };
    let first = event_page(&server, request(blocked(), "")).await.unwrap();
    let token = first.next_page_token;
    event_page(&server, request(blocked(), &token)).await.unwrap();
    let flipped = token.replacen(&token[10..11], if &token[10..11] == "A" { "B" } else { "A" }, 1);
    let created = || Some(of_types(&[UserEventType::UserCreated]));
    for (filter, wrong) in [
        (None, token.as_str()),
        (created(), &token),
        (blocked(), &token[1..]),
        (blocked(), &flipped),
        (blocked(), "' OR 1=1"),
    ] {
        let outcome = event_page(&server, request(filter, wrong)).await;
        assert_refused(outcome, "page_token", "INVALID_PAGE_TOKEN");
    }
    let attempts = ListLoginAttemptsRequest {
        page_token: token.clone(),
        ..ListLoginAttemptsRequest::default()
    };
    let of_attempts: Result<_, Failure> = page(&server, attempts).await;
    assert_refused(of_attempts, "page_token", "INVALID_PAGE_TOKEN");

    server.clock.advance(TimeDelta::hours(25));
    let outcome = event_page(&server, request(blocked(), &token)).await;
    assert_refused(outcome, "page_token", "INVALID_PAGE_TOKEN");
}

async fn g02_page_sizes_are_bounded(t: Test) {
    let server = t.start().await;
    server.create_user("ada@example.com").await;
    let numbers = (1..=120)
        .map(|number| format!("({number})"))
        .collect::<Vec<_>>()
        .join(", ");
    let id = match t.backend {
        Backend::Sqlite => "randomblob(16)",
        Backend::Postgres => "gen_random_uuid()",
    };
    t.sql(&format!(
        "WITH numbers (number) AS (VALUES {numbers})
         INSERT INTO user_events (id, user_id, type, actor_kind, correlation_id, occurred_at)
         SELECT {id}, user_id, type, actor_kind, correlation_id, occurred_at FROM numbers, user_events"
    ))
    .await
    .unwrap();
    assert_eq!(count(&t, "user_events").await, "121");
    for (page_size, expected) in [(0, 50), (1, 1), (100, 100), (101, 100), (i32::MAX, 100)] {
        let request = ListUserEventsRequest {
            page_size,
            ..ListUserEventsRequest::default()
        };
        let found = event_page(&server, request).await.unwrap();
        assert_eq!(found.user_events.len(), expected, "{page_size}");
    }
    let negative = ListUserEventsRequest {
        page_size: -1,
        ..ListUserEventsRequest::default()
    };
    let outcome = event_page(&server, negative).await;
    assert_refused(outcome, "page_size", "VALUE_OUT_OF_RANGE");
}

async fn a_bad_filter_is_refused(t: Test) {
    let server = t.start().await;
    let actor = |kind: i32, name: &str| UserEventFilter {
        actor: Some(Actor {
            kind,
            name: name.to_owned(),
        }),
        ..none()
    };
    let service = ActorKind::Service.into();
    let long = "a".repeat(256);
    for (filter, field, reason) in [
        (actor(0, "orders"), "filter.actor.kind", "INVALID_FORMAT"),
        (actor(99, ""), "filter.actor.kind", "INVALID_FORMAT"),
        (actor(service, "a\0b"), "filter.actor.name", "INVALID_FORMAT"),
        (actor(service, &long), "filter.actor.name", "VALUE_OUT_OF_RANGE"),
        (
            actor(ActorKind::User.into(), "ada"),
            "filter.actor.name",
            "INVALID_FORMAT",
        ),
        (
            UserEventFilter {
                user_id: "ada".to_owned(),
                ..none()
            },
            "filter.user_id",
            "INVALID_FORMAT",
        ),
        (
            UserEventFilter {
                types: vec![1, 0],
                ..none()
            },
            "filter.types[1]",
            "INVALID_FORMAT",
        ),
        (
            UserEventFilter {
                types: vec![1; 33],
                ..none()
            },
            "filter.types",
            "VALUE_OUT_OF_RANGE",
        ),
        (
            UserEventFilter {
                occurred_from: Some(prost_types::Timestamp {
                    seconds: i64::MAX,
                    nanos: 0,
                }),
                ..none()
            },
            "filter.occurred_from",
            "INVALID_FORMAT",
        ),
    ] {
        let outcome = events(&server, filter).await;
        assert_refused(outcome, field, reason);
    }
}
