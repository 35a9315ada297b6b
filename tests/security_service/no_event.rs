//! What changes nothing is not on record: changes to what is so already, what is refused, and what is sent again.

use identity::proto::identity::v1::{
    BlockUserRequest, ConfirmPasswordResetRequest, CreateUserRequest, DeleteUserRequest,
    SetPasswordRequest, UpdateUserRequest, User, UserEventFilter, UserEventType,
};
use tonic::Code;

use super::calls::{clear_name, clear_user, events, history_types};
use super::changing_calls::{changing_methods, configuration, prepare};
use crate::credential_service::calls::{
    OTHER_PASSWORD, change_password, confirm_reset, confirm_verification, create_reset,
    create_verification, remove_password, set_password,
};
use crate::session_service::calls::{
    block, count, deactivate, reactivate, revoke, revoke_all, sign_out, signed_in_again, unblock,
};
use crate::support::{Behaviour, Clients, PASSWORD, Test, behaviours, eventually, new_user};
use crate::user_service::calls::{NOBODY, update};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        what_is_so_already_is_not_on_record,
        what_is_refused_is_not_on_record,
        what_is_sent_again_is_on_record_once,
        of_parallel_retries_one_is_on_record,
        signing_in_and_hashing_again_are_not_on_record,
        sessions_that_only_sql_left_are_on_record_when_they_end,
    ]
}

const EMAIL: &str = "ada@example.com";

/// How many events there are.
async fn event_count(t: &Test) -> i64 {
    count(t, "user_events").await
}

async fn what_is_so_already_is_not_on_record(t: Test) {
    let server = t.start().await;
    let (ada, tokens) = server.signed_in(EMAIL).await;
    let invited = server.create_user("invited@example.com").await;
    let verification = create_verification(&server, &ada.id).await.unwrap();
    confirm_verification(&server, &verification.token, "")
        .await
        .unwrap();
    let again = create_verification(&server, &ada.id).await.unwrap();
    let blocked = server.create_user("blocked@example.com").await;
    block(&server, &blocked.id).await.unwrap();
    deactivate(&server, &blocked.id).await.unwrap();
    let next = server.refresh(&tokens.refresh_token).await.unwrap();
    let before = event_count(&t).await;

    let same = User {
        id: ada.id.clone(),
        email: EMAIL.to_owned(),
        ..User::default()
    };
    update(&server, same, &["*"]).await.unwrap();
    reactivate(&server, &ada.id).await.unwrap();
    unblock(&server, &ada.id).await.unwrap();
    block(&server, &blocked.id).await.unwrap();
    deactivate(&server, &blocked.id).await.unwrap();
    confirm_verification(&server, &again.token, "").await.unwrap();
    let removal = identity::proto::identity::v1::RemovePasswordRequest {
        user_id: invited.id.clone(),
        ..Default::default()
    };
    remove_password(&server, removal).await.unwrap();
    clear_user(&server, &ada.id).await.unwrap();
    clear_name(&server, EMAIL).await.unwrap();
    // A lost answer that is asked for again is no reuse.
    server.refresh(&tokens.refresh_token).await.unwrap();
    assert_eq!(revoke_all(&server, &invited.id).await.unwrap(), 0);
    assert_eq!(event_count(&t).await, before);

    revoke(&server, &tokens.session_id).await.unwrap();
    assert_eq!(event_count(&t).await, before + 1);
    revoke(&server, &tokens.session_id).await.unwrap();
    for all_sessions in [false, true] {
        assert_eq!(
            sign_out(&server, &next.refresh_token, all_sessions)
                .await
                .unwrap(),
            0
        );
    }
    assert_eq!(revoke_all(&server, &ada.id).await.unwrap(), 0);
    // Of a session that is over, reuse ends nothing.
    server.refresh(&tokens.refresh_token).await.unwrap_err();
    assert_eq!(event_count(&t).await, before + 1);
}

async fn what_is_refused_is_not_on_record(t: Test) {
    let server = t.start().await;
    let (ada, tokens) = server.signed_in(EMAIL).await;
    let bob = server.create_user("bob@example.com").await;
    let reset = create_reset(&server, &ada.id).await.unwrap();
    let before = event_count(&t).await;
    let code = |outcome: Result<User, crate::support::Failure>| outcome.unwrap_err().code();

    let taken = new_user().email("ADA@example.com");
    assert_eq!(code(server.create(taken).await), Code::AlreadyExists);
    let renamed = |id: &str, etag: &str| User {
        id: id.to_owned(),
        email: EMAIL.to_owned(),
        etag: etag.to_owned(),
        ..User::default()
    };
    let collision = update(&server, renamed(&bob.id, ""), &["email"]).await;
    assert_eq!(code(collision), Code::AlreadyExists);
    let stale = update(&server, renamed(&bob.id, &ada.etag), &["email"]).await;
    assert_eq!(code(stale), Code::Aborted);
    let nobody = update(&server, renamed(NOBODY, ""), &["email"]).await;
    assert_eq!(code(nobody), Code::NotFound);
    let last = identity::proto::identity::v1::RemovePasswordRequest {
        user_id: ada.id.clone(),
        ..Default::default()
    };
    assert_eq!(
        code(remove_password(&server, last).await),
        Code::FailedPrecondition
    );
    let wrong = change_password(
        &server,
        &tokens.access_token,
        OTHER_PASSWORD,
        "a third battery staple",
    );
    assert_eq!(code(wrong.await), Code::Unauthenticated);
    assert_eq!(
        code(set_password(&server, &ada.id, "short").await),
        Code::InvalidArgument
    );
    assert_eq!(
        code(set_password(&server, NOBODY, OTHER_PASSWORD).await),
        Code::NotFound
    );
    assert_eq!(
        code(confirm_reset(&server, &format!("{reset}x"), OTHER_PASSWORD).await),
        Code::Unauthenticated
    );
    for gone in [NOBODY, &tokens.session_id] {
        crate::session_service::calls::delete(&server, gone)
            .await
            .unwrap_err();
        revoke_all(&server, gone).await.unwrap_err();
        clear_user(&server, gone).await.unwrap_err();
    }
    revoke(&server, NOBODY).await.unwrap_err();
    sign_out(&server, "idr_nobody's", true).await.unwrap_err();
    server.refresh("idr_nobody's").await.unwrap_err();

    assert_eq!(event_count(&t).await, before);
}

const REQUEST_ID: &str = "0190a6e1-7d5c-4abc-8def-0123456789ab";

/// A change that can be sent with a request id.
#[derive(Debug, Clone, Copy)]
enum Sent {
    Update,
    Block,
    SetPassword,
    Reset,
    Delete,
}

/// Sends a change of a user with a request id.
async fn change_with_id(clients: &Clients, what: Sent, user_id: &str, reset: &str) {
    let user_id = user_id.to_owned();
    let request_id = REQUEST_ID.to_owned();
    match what {
        Sent::Update => {
            let user = Some(User {
                id: user_id,
                full_name: "Ada".to_owned(),
                ..User::default()
            });
            let request = UpdateUserRequest {
                user,
                request_id,
                ..UpdateUserRequest::default()
            };
            clients.users().update_user(request).await.unwrap();
        }
        Sent::Block => {
            let request = BlockUserRequest {
                user_id,
                request_id,
                ..BlockUserRequest::default()
            };
            clients.users().block_user(request).await.unwrap();
        }
        Sent::SetPassword => {
            let request = SetPasswordRequest {
                user_id,
                request_id,
                password: OTHER_PASSWORD.to_owned(),
                ..SetPasswordRequest::default()
            };
            clients.credentials().set_password(request).await.unwrap();
        }
        Sent::Reset => {
            let request = ConfirmPasswordResetRequest {
                token: reset.to_owned(),
                request_id,
                new_password: OTHER_PASSWORD.to_owned(),
            };
            clients
                .credentials()
                .confirm_password_reset(request)
                .await
                .unwrap();
        }
        Sent::Delete => {
            let request = DeleteUserRequest {
                user_id,
                request_id,
                ..DeleteUserRequest::default()
            };
            clients.users().delete_user(request).await.unwrap();
        }
    }
}

async fn what_is_sent_again_is_on_record_once(t: Test) {
    let server = t.start().await;
    let user = new_user().email(EMAIL).request_id(REQUEST_ID);
    let ada = server.create(user.clone()).await.unwrap();
    server.create(user).await.unwrap();
    let mut expected = vec![UserEventType::UserCreated];
    assert_eq!(history_types(&server, &ada.id).await, expected);
    let reset = create_reset(&server, &ada.id).await.unwrap();

    for (what, event_type) in [
        (Sent::Update, UserEventType::UserUpdated),
        (Sent::Block, UserEventType::UserBlocked),
        (Sent::SetPassword, UserEventType::PasswordSet),
        (Sent::Reset, UserEventType::PasswordReset),
        (Sent::Delete, UserEventType::UserDeleted),
    ] {
        expected.push(event_type);
        for _ in 0..3 {
            change_with_id(&server, what, &ada.id, &reset).await;
            assert_eq!(history_types(&server, &ada.id).await, expected);
        }
    }
}

async fn of_parallel_retries_one_is_on_record(t: Test) {
    let server = t.start().await;
    let replica = t.start().await;
    let request = CreateUserRequest {
        user: Some(User {
            email: EMAIL.to_owned(),
            ..User::default()
        }),
        request_id: REQUEST_ID.to_owned(),
        ..CreateUserRequest::default()
    };
    let outcomes = futures_util::future::join_all((0..10).map(|number| {
        let clients: &Clients = if number % 2 == 0 { &server } else { &replica };
        let mut users = clients.users();
        let request = request.clone();
        async move { users.create_user(request).await }
    }))
    .await;

    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert_eq!(event_count(&t).await, 1);
}

async fn signing_in_and_hashing_again_are_not_on_record(t: Test) {
    let server = t.start().await;
    let ada = server.create_with_password(EMAIL).await;
    let stronger = t
        .start_with(&[
            ("IDENTITY_BCRYPT_COST", "5"),
            ("IDENTITY_MAX_SESSIONS_PER_USER", "2"),
        ])
        .await;
    // Two more than there may be: the sessions that make room for others end by a rule, not by anybody.
    for _ in 0..4 {
        signed_in_again(&stronger, EMAIL).await;
    }
    eventually("the password is hashed again", async || {
        let weak = count(&t, "users WHERE password_hash LIKE '$2b$04$%'").await;
        weak == 0
    })
    .await;
    stronger.sign_in(EMAIL, PASSWORD).await.unwrap();

    let expected = [UserEventType::UserCreated];
    assert_eq!(history_types(&server, &ada.id).await, expected);
}

/// Whoever was blocked by hand still has sessions, which end with the next block. That changes nothing else.
async fn sessions_that_only_sql_left_are_on_record_when_they_end(t: Test) {
    let server = t.start_with(&configuration()).await;
    let mut methods = changing_methods();
    methods.retain(|method| method.name == "BlockUser");
    let call = prepare(&t, &server, methods.swap_remove(0)).await;
    t.sql("UPDATE users SET is_blocked = TRUE").await.unwrap();

    for _ in 0..2 {
        call.make_well(&server, "", "block").await;
    }

    let expected = [UserEventType::UserCreated, UserEventType::SessionsRevoked];
    assert_eq!(history_types(&server, &call.user_id).await, expected);
    let everything = events(&server, UserEventFilter::default()).await.unwrap();
    assert_eq!(everything.len(), expected.len());
}
