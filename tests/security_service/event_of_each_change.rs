//! Every method that changes a user, and the event of it: what, who, when, and in which call.

use identity::proto::google::r#type::Date;
use identity::proto::identity::v1::{Actor, ActorKind, User, UserEvent, UserEventFilter, UserEventType};

use super::calls::{clear_name, events, history, history_types};
use super::changing_calls::{Expected, Method, ReadyCall, changing_methods, configuration, prepare};
use crate::session_service::calls::{sign_out, signed_in_again};
use crate::support::{AUTH, Behaviour, Clients, Test, behaviours};
use crate::user_service::calls::{lookup_email, update};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        todo_10_every_method_that_changes_a_user_is_on_record_with_the_service_that_called,
        todo_10_what_users_do_for_themselves_is_on_record_with_them,
        without_authorization_the_actor_is_anonymous,
        the_fields_that_changed_are_named_and_no_others,
        an_email_that_was_verified_is_not_any_more_with_another_one,
        signing_out_everywhere_is_one_event,
        a_lockout_is_cleared_by_login_name,
        the_time_of_an_event_is_that_of_the_change,
    ]
}

/// Whoever calls here, as a service.
const SERVICE: &str = "orders";

async fn start(t: &Test) -> crate::support::TestServer {
    t.start_with(&[&[AUTH], configuration().as_slice()].concat())
        .await
}

/// Returns the events of one call.
async fn events_of_call(clients: &Clients, correlation_id: &str) -> Vec<UserEvent> {
    let mut found = events(clients, UserEventFilter::default()).await.unwrap();
    found.retain(|event| event.correlation_id == correlation_id);
    found
}

/// Makes calls of methods with what `token` says, and checks what is on record of each.
async fn make_and_check(
    t: &Test,
    admin: &Clients,
    methods: Vec<Method>,
    token: impl Fn(&ReadyCall) -> (String, Actor),
) {
    for method in methods {
        let call = prepare(t, admin, method).await;
        let (token, actor) = token(&call);
        let correlation_id = format!("call:{}", call.method.name);

        call.make_well(admin, &token, &correlation_id).await;

        let found = events_of_call(admin, &correlation_id).await;
        assert_on_record(admin, &call, &actor, found).await;
    }
}

async fn assert_on_record(clients: &Clients, call: &ReadyCall, actor: &Actor, found: Vec<UserEvent>) {
    let name = &call.method.name;
    let Some(expected) = &call.expected else {
        assert_eq!(found, [], "{name}");
        return;
    };
    let [event] = <[UserEvent; 1]>::try_from(found).expect(name);
    let recorded = Expected {
        event_type: event.r#type(),
        changed_fields: expected.changed_fields.clone(),
        session_id: event.session_id.clone(),
    };
    assert_eq!(&recorded, expected, "{name}");
    assert_eq!(event.changed_fields, expected.changed_fields, "{name}");
    assert_eq!(event.actor.as_ref(), Some(actor), "{name}");
    let user_id = if call.user_id.is_empty() {
        lookup_email(clients, &call.email).await.unwrap().id
    } else {
        call.user_id.clone()
    };
    assert_eq!(event.user_id, user_id, "{name}");
    assert_eq!(event.id.as_bytes()[14], b'7', "{name}");
    assert!(event.occur_time.is_some(), "{name}");
}

async fn todo_10_every_method_that_changes_a_user_is_on_record_with_the_service_that_called(t: Test) {
    let server = start(&t).await;
    let token = t.service_token(SERVICE, &["admin"]).await;
    let admin = server.with_token(&token);
    let mut methods = changing_methods();
    methods.retain(|method| method.is_for_services);
    assert!(methods.len() >= 21);
    let actor = Actor {
        kind: ActorKind::Service.into(),
        name: SERVICE.to_owned(),
    };

    make_and_check(&t, &admin, methods, |_| (token.clone(), actor.clone())).await;
}

async fn todo_10_what_users_do_for_themselves_is_on_record_with_them(t: Test) {
    let server = start(&t).await;
    let admin = server.with_token(&t.service_token(SERVICE, &["admin"]).await);
    let mut methods = changing_methods();
    methods.retain(|method| method.is_own);
    let names: Vec<&str> = methods.iter().map(|method| method.name.as_str()).collect();
    for name in [
        "ChangePassword",
        "RevokeAllSessions",
        "RevokeSession",
        "UpdateUser",
    ] {
        assert!(names.contains(&name), "{name} is not among {names:?}");
    }

    make_and_check(&t, &admin, methods, |call| {
        let actor = Actor {
            kind: ActorKind::User.into(),
            name: call.user_id.clone(),
        };
        (call.own_token.clone(), actor)
    })
    .await;
}

async fn without_authorization_the_actor_is_anonymous(t: Test) {
    let server = t.start_with(&configuration()).await;
    let mut methods = changing_methods();
    methods.retain(|method| method.is_for_services);
    let anonymous = Actor {
        kind: ActorKind::Anonymous.into(),
        name: String::new(),
    };

    make_and_check(&t, &server, methods, |_| (String::new(), anonymous.clone())).await;
}

async fn the_fields_that_changed_are_named_and_no_others(t: Test) {
    let server = t.start().await;
    let user = server.create_user("ada@example.com").await;
    let born = |day| {
        Some(Date {
            year: 1815,
            month: 12,
            day,
        })
    };
    let all = ["email", "username", "full_name", "birth_date"];
    // What is asked for, each on top of the one before, and what is different afterwards.
    let steps: [(User, &[&str]); 6] = [
        (
            User {
                username: r"\home\ada".to_owned(),
                ..user.clone()
            },
            &["username"],
        ),
        (
            User {
                username: r"\home\ada".to_owned(),
                full_name: "Ada Lovelace".to_owned(),
                birth_date: born(10),
                ..user.clone()
            },
            &["full_name", "birth_date"],
        ),
        // The same address, typed differently.
        (
            User {
                email: "Ada@example.com".to_owned(),
                username: r"\home\ada".to_owned(),
                full_name: "Ada Lovelace".to_owned(),
                birth_date: born(10),
                ..user.clone()
            },
            &["email"],
        ),
        (
            User {
                email: "Ada@example.com".to_owned(),
                username: r"\Home\ada".to_owned(),
                full_name: "Ada King".to_owned(),
                birth_date: born(11),
                ..user.clone()
            },
            &["username", "full_name", "birth_date"],
        ),
        // Cleared, all but one.
        (
            User {
                email: "ada@example.org".to_owned(),
                ..user.clone()
            },
            &["email", "username", "full_name", "birth_date"],
        ),
        (
            User {
                email: "ada@example.org".to_owned(),
                full_name: "Ada King".to_owned(),
                ..user.clone()
            },
            &["full_name"],
        ),
    ];
    for (wanted, expected) in steps {
        let wanted = User {
            etag: String::new(),
            ..wanted
        };
        update(&server, wanted, &all).await.unwrap();
        let last = history(&server, &user.id).await.pop().unwrap();
        assert_eq!(last.r#type(), UserEventType::UserUpdated);
        assert_eq!(last.changed_fields, expected);
    }
    assert_eq!(history(&server, &user.id).await.len(), 7);
}

async fn an_email_that_was_verified_is_not_any_more_with_another_one(t: Test) {
    let server = t.start().await;
    let user = server.create_user("ada@example.com").await;
    let method = |name: &str| {
        let mut methods = changing_methods();
        methods.retain(|method| method.name == name);
        methods.swap_remove(0)
    };
    let call = prepare(&t, &server, method("ConfirmEmailVerification")).await;
    call.make_well(&server, "", "verify").await;
    let renamed = |id: &str, email: &str| User {
        id: id.to_owned(),
        email: email.to_owned(),
        ..User::default()
    };

    update(&server, renamed(&call.user_id, "ada@example.org"), &["email"])
        .await
        .unwrap();
    update(&server, renamed(&user.id, "bob@example.org"), &["email"])
        .await
        .unwrap();

    let changed = async |id: &str| history(&server, id).await.pop().unwrap().changed_fields;
    assert_eq!(changed(&call.user_id).await, ["email", "email_verified"]);
    assert_eq!(changed(&user.id).await, ["email"]);
}

async fn signing_out_everywhere_is_one_event(t: Test) {
    let server = t.start().await;
    let (ada, tokens) = server.signed_in("ada@example.com").await;
    signed_in_again(&server, "ada@example.com").await;
    signed_in_again(&server, "ada@example.com").await;

    assert_eq!(sign_out(&server, &tokens.refresh_token, true).await.unwrap(), 3);

    let last = history(&server, &ada.id).await.pop().unwrap();
    assert_eq!(last.r#type(), UserEventType::SessionsRevoked);
    assert_eq!(last.session_id, "", "it is about all of them");
    assert_eq!(history(&server, &ada.id).await.len(), 2);
}

async fn a_lockout_is_cleared_by_login_name(t: Test) {
    let server = t.start().await;
    let ada = server.create_with_password("ada@example.com").await;
    for name in ["Ada@example.com", "nobody@example.com"] {
        server.sign_in(name, "not the password").await.unwrap_err();
        clear_name(&server, name).await.unwrap();
    }

    // Whoever is nobody has no history.
    let expected = [UserEventType::UserCreated, UserEventType::LockoutCleared];
    assert_eq!(history_types(&server, &ada.id).await, expected);
    let everything = events(&server, UserEventFilter::default()).await.unwrap();
    assert_eq!(everything.len(), expected.len());
}

async fn the_time_of_an_event_is_that_of_the_change(t: Test) {
    let server = t.start().await;
    let user = server.create_user("ada@example.com").await;
    // The clock is set back: the changes of a user are in order all the same.
    server.clock.advance(chrono::TimeDelta::hours(-1));
    let renamed = User {
        full_name: "Ada".to_owned(),
        ..user.clone()
    };
    let updated = update(&server, renamed, &["full_name"]).await.unwrap();
    crate::session_service::calls::delete(&server, &user.id)
        .await
        .unwrap();

    let times: Vec<_> = history(&server, &user.id)
        .await
        .into_iter()
        .map(|event| event.occur_time.unwrap())
        .collect();

    assert_eq!(times[0], user.create_time.unwrap());
    assert_eq!(times[1], updated.update_time.unwrap());
    let nanos = |time: &prost_types::Timestamp| (time.seconds, time.nanos);
    assert!(nanos(&times[0]) < nanos(&times[1]) && nanos(&times[1]) < nanos(&times[2]));
}
