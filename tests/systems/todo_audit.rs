//! The todo application: who changed what, and when.

use chrono::{DateTime, TimeDelta, Utc};
use identity::clock::Clock;
use identity::proto::identity::v1::{
    Actor, ActorKind, ListUserEventsRequest, SignUpRequest, User, UserEvent, UserEventFilter,
    UserEventType,
};
use prost_types::Timestamp;

use super::calls::{block, delete, unblock, update};
use super::plans::{plan_of_last_read_of, spawn_with_echo};
use super::rows::FIRST_SECOND;
use super::todo::CONFIGURATION;
use crate::security_service::calls::{events, history};
use crate::session_service::calls::{OTHER_PASSWORD, change_password};
use crate::support::{AUTH, Backend, Behaviour, PASSWORD, Test, behaviours};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        todo_10_every_change_of_a_user_tells_who_what_and_when,
        todo_10_the_audit_trail_is_read_through_indexes,
    ]
}

fn time(event: &UserEvent) -> DateTime<Utc> {
    let time = event.occur_time.unwrap();
    DateTime::from_timestamp(time.seconds, time.nanos.try_into().unwrap()).unwrap()
}

async fn todo_10_every_change_of_a_user_tells_who_what_and_when(t: Test) {
    let setting = [AUTH, ("IDENTITY_SIGN_UP", "on")];
    let server = t.start_with(&[CONFIGURATION, &setting].concat()).await;
    let gateway = t.service_token("todo-gateway", &["auth.sign_up"]).await;
    let back_office = t
        .service_token("back-office", &["users.write", "users.delete", "events.read"])
        .await;
    let (gateway, office) = (server.with_token(&gateway), server.with_token(&back_office));
    let began = server.clock.now();
    let sign_up = SignUpRequest {
        user: Some(User {
            email: "ada@example.com".to_owned(),
            ..User::default()
        }),
        password: PASSWORD.to_owned(),
        ..SignUpRequest::default()
    };
    let signed_up = gateway.auth().sign_up(sign_up).await.unwrap().into_inner();
    let ada = signed_up.user.unwrap();
    let token = signed_up.tokens.unwrap().access_token;
    let tick = || server.clock.advance(TimeDelta::seconds(10));

    tick();
    let named = User {
        id: ada.id.clone(),
        full_name: "Ada".to_owned(),
        ..User::default()
    };
    update(&server.with_token(&token), named, &["full_name"])
        .await
        .unwrap();
    tick();
    change_password(&server, &token, PASSWORD, OTHER_PASSWORD)
        .await
        .unwrap();
    tick();
    let moved = User {
        id: ada.id.clone(),
        email: "ada@example.org".to_owned(),
        ..User::default()
    };
    update(&office, moved, &["email"]).await.unwrap();
    tick();
    block(&office, &ada.id, "spam").await;
    tick();
    unblock(&office, &ada.id).await;
    tick();
    delete(&office, &ada.id).await;

    let service = |name: &str| (ActorKind::Service, name.to_owned());
    let herself = || (ActorKind::User, ada.id.clone());
    let expected = [
        (UserEventType::UserCreated, service("todo-gateway"), vec![]),
        (UserEventType::UserUpdated, herself(), vec!["full_name"]),
        (UserEventType::PasswordChanged, herself(), vec![]),
        (UserEventType::UserUpdated, service("back-office"), vec!["email"]),
        (UserEventType::UserBlocked, service("back-office"), vec![]),
        (UserEventType::UserUnblocked, service("back-office"), vec![]),
        (UserEventType::UserDeleted, service("back-office"), vec![]),
    ];
    let found = history(&office, &ada.id).await;
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (number, (event, (event_type, (kind, name), fields))) in found.iter().zip(expected).enumerate() {
        let actor = event.actor.as_ref().unwrap();
        assert_eq!(event.r#type(), event_type);
        assert_eq!((actor.kind(), actor.name.clone()), (kind, name), "{event_type:?}");
        assert_eq!(event.changed_fields, fields, "{event_type:?}");
        let since = time(event) - began;
        assert_eq!(since.num_seconds() / 10, i64::try_from(number).unwrap());
    }
}

/// Adds events: one each second from [`FIRST_SECOND`], of fifty users by ten services, every hundredth a deletion by an
/// operator. PostgreSQL learns how many rows it has.
async fn fill_events(t: &Test, count: u32) {
    let columns = "id, user_id, type, actor_kind, actor_name, correlation_id, occurred_at";
    let values = "CASE WHEN n % 100 = 0 THEN 'user_deleted' ELSE 'user_created' END,
                  CASE WHEN n % 100 = 0 THEN 'operator' ELSE 'service' END";
    let statement = match t.backend {
        Backend::Postgres => format!(
            "INSERT INTO user_events ({columns})
             SELECT gen_random_uuid(), lpad((n % 50)::text, 32, '0')::uuid, {values},
                    CASE WHEN n % 100 <> 0 THEN 'service-' || (n % 10) END, 'filler',
                    to_timestamp({FIRST_SECOND} + n)
             FROM generate_series(0, {count} - 1) AS n;
             ANALYZE user_events"
        ),
        Backend::Sqlite => format!(
            "WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count} - 1)
             INSERT INTO user_events ({columns})
             SELECT randomblob(16), unhex(format('%032d', n % 50)), {values},
                    CASE WHEN n % 100 <> 0 THEN 'service-' || (n % 10) END, 'filler',
                    ({FIRST_SECOND} + n) * 1000000
             FROM numbers"
        ),
    };
    t.sql(&statement).await.unwrap();
}

fn second(number: i64) -> Option<Timestamp> {
    Some(Timestamp {
        seconds: FIRST_SECOND + number,
        nanos: 0,
    })
}

async fn todo_10_the_audit_trail_is_read_through_indexes(t: Test) {
    let process = spawn_with_echo(&t, CONFIGURATION).await;
    // What the server looks at by itself when it starts would pass for the last statement.
    process.wait_until_settled().await;
    fill_events(&t, 20_000).await;
    let none = UserEventFilter::default;
    let of = |kind: ActorKind, name: &str| UserEventFilter {
        actor: Some(Actor {
            kind: kind.into(),
            name: name.to_owned(),
        }),
        ..none()
    };
    let user_id = "00000000-0000-0000-0000-000000000007";
    let range = format!("to_timestamp({FIRST_SECOND} + 1000), to_timestamp({FIRST_SECOND} + 1010)");
    for (filter, arguments, index, expected) in [
        (none(), String::new(), "user_events_occurred_at_idx", 100),
        (
            UserEventFilter {
                user_id: user_id.to_owned(),
                ..none()
            },
            format!("'{user_id}', "),
            "user_events_user_id_idx",
            100,
        ),
        (
            of(ActorKind::Service, "service-7"),
            "'service', 'service-7', ".to_owned(),
            "user_events_actor_idx",
            100,
        ),
        (
            of(ActorKind::Operator, ""),
            "'operator', ".to_owned(),
            "user_events_actor_kind_idx",
            100,
        ),
        (
            UserEventFilter {
                types: vec![UserEventType::UserDeleted.into()],
                ..none()
            },
            "'user_deleted', ".to_owned(),
            "user_events_type_idx",
            100,
        ),
        (
            UserEventFilter {
                occurred_from: second(1000),
                occurred_before: second(1010),
                ..none()
            },
            format!("{range}, "),
            "user_events_occurred_at_idx",
            10,
        ),
    ] {
        let found = events(&process, filter.clone()).await.unwrap();
        assert_eq!(found.len(), expected, "{filter:?}");
        let plan = plan_of_last_read_of(&t, &process, "user_events", &format!("{arguments}101")).await;
        assert!(plan.contains(index), "{filter:?}: {plan}");
        for detour in ["Seq Scan", "Sort", "TEMP B-TREE"] {
            assert!(!plan.contains(detour), "{filter:?}: {plan}");
        }
    }
    // The next page begins where the one before ended.
    let first = ListUserEventsRequest::default();
    let page = crate::security_service::calls::event_page(&process, first)
        .await
        .unwrap();
    let last = page.user_events.last().unwrap().clone();
    let next = ListUserEventsRequest {
        page_token: page.next_page_token,
        ..ListUserEventsRequest::default()
    };
    crate::security_service::calls::event_page(&process, next)
        .await
        .unwrap();
    let seconds = last.occur_time.unwrap().seconds;
    let arguments = format!(
        "to_timestamp({seconds}), to_timestamp({seconds}), '{}', 51",
        last.id
    );
    let plan = plan_of_last_read_of(&t, &process, "user_events", &arguments).await;
    assert!(plan.contains("user_events_occurred_at_idx"), "{plan}");
    assert!(!plan.contains("Seq Scan") && !plan.contains("Sort"), "{plan}");
}
