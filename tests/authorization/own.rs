//! Users who call for themselves: their own data, and nobody else's.

use identity::proto::google::r#type::Date;
use identity::proto::identity::v1::{
    BatchGetUsersRequest, GetPasswordStatusRequest, GetSessionRequest, GetUserRequest,
    ListSessionsRequest, RevokeAllSessionsRequest, RevokeSessionRequest, UpdateUserRequest, User,
};
use prost_types::FieldMask;
use tonic::Code;

use crate::support::{AUTH, Behaviour, Clients, Failure, PASSWORD, Test, TestServer, behaviours};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        todo_08_a03_users_reach_their_own_data,
        todo_08_a03_e06_what_belongs_to_others_is_not_found,
        todo_08_a03_sessions_of_others_are_not_found_and_go_on,
        users_cannot_change_their_login_names_alone,
        an_access_token_opens_nothing_once_its_session_has_ended,
        two_tokens_at_once_are_none,
    ]
}

/// An id that nobody has.
const NOBODY: &str = "0190a5c3-0000-7000-8000-000000000000";

/// Two users who are signed in, as clients of a server that asks who is calling.
struct World {
    server: TestServer,
    ada: Person,
    bob: Person,
    admin: Clients,
}

struct Person {
    user: User,
    session_id: String,
    clients: Clients,
}

async fn world(t: &Test) -> World {
    let server = t.start_with(&[AUTH]).await;
    let admin = server.with_token(&t.service_token("admin", &["admin"]).await);
    let ada = person(&admin, "ada@example.com").await;
    let bob = person(&admin, "bob@example.com").await;
    World {
        server,
        ada,
        bob,
        admin,
    }
}

async fn person(admin: &Clients, email: &str) -> Person {
    let (user, tokens) = admin.signed_in(email).await;
    Person {
        user,
        session_id: tokens.session_id,
        clients: admin.with_token(&tokens.access_token),
    }
}

async fn update(clients: &Clients, user: User, paths: &[&str]) -> Result<User, Failure> {
    let request = UpdateUserRequest {
        user: Some(user),
        update_mask: Some(FieldMask {
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        }),
        ..UpdateUserRequest::default()
    };
    let response = clients.users().update_user(request).await?;
    Ok(response.into_inner().user.unwrap())
}

async fn batch(clients: &Clients, ids: &[&str]) -> Result<usize, Failure> {
    let user_ids = ids.iter().map(|id| (*id).to_owned()).collect();
    let response = clients
        .users()
        .batch_get_users(BatchGetUsersRequest { user_ids })
        .await?;
    Ok(response.into_inner().users.len())
}

/// Every call of a user's own that names a user, with an id.
async fn calls_about(clients: &Clients, id: &str) -> Vec<(&'static str, Result<(), Failure>)> {
    let user_id = || id.to_owned();
    let named = User {
        id: user_id(),
        full_name: "Somebody".to_owned(),
        ..User::default()
    };
    let status = GetPasswordStatusRequest { user_id: user_id() };
    let list = ListSessionsRequest {
        user_id: user_id(),
        ..ListSessionsRequest::default()
    };
    let get = GetUserRequest { user_id: user_id() };
    vec![
        (
            "GetUser",
            clients
                .users()
                .get_user(get)
                .await
                .map(drop)
                .map_err(Failure::from),
        ),
        ("BatchGetUsers", batch(clients, &[id]).await.map(drop)),
        (
            "UpdateUser",
            update(clients, named, &["full_name"]).await.map(drop),
        ),
        (
            "GetPasswordStatus",
            clients
                .credentials()
                .get_password_status(status)
                .await
                .map(drop)
                .map_err(Failure::from),
        ),
        (
            "ListSessions",
            clients
                .sessions()
                .list_sessions(list)
                .await
                .map(drop)
                .map_err(Failure::from),
        ),
    ]
}

async fn revoke_all(clients: &Clients, id: &str) -> Result<i32, Failure> {
    let request = RevokeAllSessionsRequest {
        user_id: id.to_owned(),
    };
    let response = clients.sessions().revoke_all_sessions(request).await?;
    Ok(response.into_inner().ended_sessions)
}

async fn todo_08_a03_users_reach_their_own_data(t: Test) {
    let World { ada, .. } = &world(&t).await;
    for (call, outcome) in calls_about(&ada.clients, &ada.user.id).await {
        outcome.unwrap_or_else(|failure| panic!("{call}: {failure:?}"));
    }
    let request = GetSessionRequest {
        session_id: ada.session_id.clone(),
    };
    let session = ada.clients.sessions().get_session(request).await.unwrap();
    assert_eq!(session.into_inner().session.unwrap().user_id, ada.user.id);
    let birth_date = User {
        id: ada.user.id.clone(),
        birth_date: Some(Date {
            year: 1815,
            month: 12,
            day: 10,
        }),
        ..User::default()
    };
    update(&ada.clients, birth_date, &["birth_date"]).await.unwrap();
    assert_eq!(revoke_all(&ada.clients, &ada.user.id).await.unwrap(), 1);
}

async fn todo_08_a03_e06_what_belongs_to_others_is_not_found(t: Test) {
    let World { ada, bob, admin, .. } = &world(&t).await;
    let carl = admin.create_user("carl@example.com").await;
    let request = identity::proto::identity::v1::DeleteUserRequest {
        user_id: carl.id.clone(),
        ..Default::default()
    };
    admin.users().delete_user(request).await.unwrap();

    let mut of_nobody = calls_about(&ada.clients, NOBODY).await;
    of_nobody.push((
        "RevokeAllSessions",
        revoke_all(&ada.clients, NOBODY).await.map(drop),
    ));
    for id in [&bob.user.id, &carl.id] {
        let mut of_other = calls_about(&ada.clients, id).await;
        of_other.push(("RevokeAllSessions", revoke_all(&ada.clients, id).await.map(drop)));
        for ((call, other), (_, nobody)) in of_other.iter().zip(&of_nobody) {
            let other = other.as_ref().expect_err(call);
            let nobody = nobody.as_ref().expect_err(call);
            assert_eq!(other.code(), Code::NotFound, "{call}");
            assert_eq!(other.message(), nobody.message(), "{call}");
            // The same bytes, but for the id that was asked for.
            let text =
                |failure: &Failure| String::from_utf8_lossy(failure.status().details()).into_owned();
            assert_eq!(text(other).replace(id, NOBODY), text(nobody), "{call}");
        }
    }
    let mixed = batch(&ada.clients, &[&ada.user.id, &bob.user.id])
        .await
        .unwrap_err();
    assert_eq!(mixed.code(), Code::NotFound);
    assert_eq!(
        admin.get(&bob.user.id).await.unwrap(),
        bob.user,
        "nothing was changed"
    );
}

async fn todo_08_a03_sessions_of_others_are_not_found_and_go_on(t: Test) {
    let World { ada, bob, .. } = &world(&t).await;
    for session_id in [&bob.session_id, &NOBODY.to_owned()] {
        let get = GetSessionRequest {
            session_id: session_id.clone(),
        };
        let revoke = RevokeSessionRequest {
            session_id: session_id.clone(),
        };
        let outcomes = [
            ada.clients.sessions().get_session(get).await.map(drop),
            ada.clients.sessions().revoke_session(revoke).await.map(drop),
        ];
        for outcome in outcomes {
            let failure = Failure::from(outcome.unwrap_err());
            assert_eq!(
                (failure.code(), failure.reason().as_str()),
                (Code::NotFound, "SESSION_NOT_FOUND")
            );
        }
    }
    let me = bob
        .clients
        .auth()
        .get_me(identity::proto::identity::v1::GetMeRequest {})
        .await;
    assert_eq!(me.unwrap().into_inner().user.unwrap().id, bob.user.id);
}

async fn users_cannot_change_their_login_names_alone(t: Test) {
    let World { ada, admin, .. } = &world(&t).await;
    let wanted = User {
        id: ada.user.id.clone(),
        email: "eve@example.com".to_owned(),
        full_name: "Ada".to_owned(),
        ..User::default()
    };
    for paths in [["email", "full_name"].as_slice(), &["username"], &["*"], &[]] {
        let failure = update(&ada.clients, wanted.clone(), paths).await.unwrap_err();
        assert_eq!(failure.code(), Code::InvalidArgument, "{paths:?}");
        assert!(
            failure
                .fields()
                .iter()
                .all(|(_, reason)| reason == "FIELD_NOT_WRITABLE"),
            "{failure:?}"
        );
    }
    assert_eq!(admin.get(&ada.user.id).await.unwrap(), ada.user);
    // A service can.
    update(admin, wanted, &["email"]).await.unwrap();
}

async fn an_access_token_opens_nothing_once_its_session_has_ended(t: Test) {
    let World { ada, admin, .. } = &world(&t).await;
    revoke_all(admin, &ada.user.id).await.unwrap();
    for (call, outcome) in calls_about(&ada.clients, &ada.user.id).await {
        let failure = outcome.expect_err(call);
        assert_eq!(
            (failure.code(), failure.reason().as_str()),
            (Code::Unauthenticated, "SESSION_ENDED"),
            "{call}"
        );
    }
}

async fn two_tokens_at_once_are_none(t: Test) {
    let World { ada, server, .. } = &world(&t).await;
    let admin = t.service_token("second", &["admin"]).await;
    let tokens = server
        .with_token(&admin)
        .sign_in("ada@example.com", PASSWORD)
        .await
        .unwrap();
    // Two credentials are none: who calls would be a matter of luck.
    let mut request = tonic::Request::new(GetUserRequest {
        user_id: ada.user.id.clone(),
    });
    for token in [&admin, &tokens.access_token] {
        let value = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().append("authorization", value);
    }
    let failure = Failure::from(server.users().get_user(request).await.unwrap_err());
    assert_eq!(failure.reason(), "TOKEN_REQUIRED");
}
