//! `UserService/WatchUsers`.

mod endings;
mod order;
mod property;
mod resume;
pub mod watching;

use identity::proto::identity::v1::watch_users_response::Content;
use identity::proto::identity::v1::{
    ListUsersRequest, SetPasswordRequest, User, UserEventType, WatchUsersRequest,
};
use prost::Message;

use crate::support::{Behaviour, Clients, PASSWORD, Test, behaviours, new_user};
use crate::user_service::calls::{Change, Method, NOBODY, list, update};
use watching::{Copy, Watch, after, from_beginning, from_now, table};

pub fn tests() -> Vec<Behaviour> {
    [
        behaviours![
            a_snapshot_is_everybody_in_the_order_of_ids_and_then_comes_what_changes,
            a_watch_from_now_tells_every_change_with_the_user_after_it,
            a_list_and_a_watch_after_it_have_no_gap,
            the_snapshot_has_many_pages,
            changes_can_be_narrowed_to_types,
            snapshot_and_changes_can_be_narrowed_to_users,
            checkpoints_come_while_nothing_happens,
            s08_no_message_has_a_secret,
            an_id_that_is_given_again_is_told_again,
        ],
        endings::tests(),
        order::tests(),
        property::tests(),
        resume::tests(),
    ]
    .concat()
}

/// So often that a test does not wait for one.
pub const CHECKPOINTS: (&str, &str) = ("IDENTITY_WATCH_CHECKPOINT_INTERVAL", "50ms");

/// Gives a user another name.
pub async fn rename(clients: &Clients, user: &User, name: &str) -> User {
    let renamed = User {
        full_name: name.to_owned(),
        etag: String::new(),
        ..user.clone()
    };
    update(clients, renamed, &["full_name"])
        .await
        .expect("the user is renamed")
}

/// Blocks a user.
pub async fn block(clients: &Clients, user_id: &str) -> User {
    let blocked = Method::Block.call(clients, Change::of(user_id)).await;
    blocked.expect("the user is blocked").expect("a user")
}

/// Deletes a user.
pub async fn delete(clients: &Clients, user_id: &str) {
    let deleted = Method::Delete.call(clients, Change::of(user_id)).await;
    deleted.expect("the user is deleted");
}

async fn a_snapshot_is_everybody_in_the_order_of_ids_and_then_comes_what_changes(t: Test) {
    let server = t.start().await;
    let ada = server.create_user("ada@example.com").await;
    let bob = server.create_user("bob@example.com").await;
    // An id chosen by its creator comes before theirs.
    let first = "00000000-0000-4000-8000-000000000000";
    let cleo = new_user().email("cleo@example.com").user_id(first);
    let cleo = server.create(cleo).await.unwrap();

    let mut watch = Watch::begin(&server, from_beginning()).await.unwrap();

    assert_eq!(watch.user().await, cleo);
    assert_eq!(watch.user().await, ada);
    assert_eq!(watch.user().await, bob);
    watch.catch_up().await;
    let renamed = rename(&server, &bob, "Bob").await;
    let change = watch.change().await;
    assert_eq!(change.user.as_ref(), Some(&renamed));
    assert_eq!(change.r#type(), UserEventType::UserUpdated);
    assert_eq!(change.changed_fields, ["full_name"]);
    assert_eq!(change.occur_time, renamed.update_time);
    delete(&server, &ada.id).await;
    let deletion = watch.change().await;
    assert_eq!(deletion.r#type(), UserEventType::UserDeleted);
    assert_eq!((deletion.user_id, deletion.user), (ada.id, None));
}

async fn a_watch_from_now_tells_every_change_with_the_user_after_it(t: Test) {
    let server = t.start().await;
    let ada = server.create_user("ada@example.com").await;
    let mut watch = Watch::now(&server).await;

    let renamed = rename(&server, &ada, "Ada").await;
    let blocked = block(&server, &ada.id).await;
    let bob = server.create_user("bob@example.com").await;
    delete(&server, &bob.id).await;

    let update = watch.change().await;
    assert_eq!(update.r#type(), UserEventType::UserUpdated);
    // As it was then, or is by now.
    assert!([&renamed, &blocked].contains(&update.user.as_ref().unwrap()));
    let block = watch.change().await;
    assert_eq!(block.r#type(), UserEventType::UserBlocked);
    assert_eq!(block.user, Some(blocked));
    let creation = watch.change().await;
    assert_eq!(creation.r#type(), UserEventType::UserCreated);
    assert!(creation.user.is_none_or(|user| user == bob));
    let deletion = watch.change().await;
    assert_eq!(deletion.r#type(), UserEventType::UserDeleted);
    assert_eq!((deletion.user_id, deletion.user), (bob.id, None));
}

async fn a_list_and_a_watch_after_it_have_no_gap(t: Test) {
    let server = t.start().await;
    let ada = server.create_user("ada@example.com").await;
    let bob = server.create_user("bob@example.com").await;
    let small = ListUsersRequest {
        page_size: 1,
        ..ListUsersRequest::default()
    };
    let first = list(&server, small.clone()).await.unwrap();
    assert_eq!(first.users, std::slice::from_ref(&ada));
    let renamed = rename(&server, &ada, "Ada").await;
    let next = ListUsersRequest {
        page_token: first.next_page_token,
        ..small
    };
    let second = list(&server, next).await.unwrap();
    assert_eq!((second.users, second.resume_token.as_str()), (vec![bob], ""));

    let mut watch = Watch::begin(&server, after(&first.resume_token)).await.unwrap();

    let mut copy = Copy::default();
    while copy.users.get(&ada.id) != Some(&renamed) {
        copy.apply(watch.next().await);
    }
    watch.catch_up().await;
}

async fn the_snapshot_has_many_pages(t: Test) {
    const USERS: usize = 250;
    let server = t.start().await;
    for number in 0..USERS {
        server.create_user(&format!("{number}@example.com")).await;
    }
    let mut watch = Watch::begin(&server, from_beginning()).await.unwrap();
    let mut copy = Copy::default();
    let mut ids = Vec::new();
    // What is created meanwhile is told, in the snapshot or after it.
    let late = server.create_user("late@example.com").await;
    loop {
        let content = watch.next().await;
        match &content {
            Content::User(user) => ids.push(user.id.clone()),
            Content::Change(_) => {}
            Content::Checkpoint(_) => break,
        }
        copy.apply(content);
    }

    assert!(ids.len() >= USERS && ids.is_sorted());
    if !copy.users.contains_key(&late.id) {
        copy.apply(Content::Change(watch.change().await));
    }
    assert_eq!(copy.users, table(&server).await.unwrap());
}

async fn changes_can_be_narrowed_to_types(t: Test) {
    let server = t.start().await;
    let ada = server.create_user("ada@example.com").await;
    let request = WatchUsersRequest {
        types: vec![
            UserEventType::UserDeleted.into(),
            UserEventType::UserBlocked.into(),
        ],
        ..from_now()
    };
    let mut watch = Watch::begin(&server, request.clone()).await.unwrap();
    watch.catch_up().await;
    let begin = watch.token.clone();

    rename(&server, &ada, "Ada").await;
    block(&server, &ada.id).await;
    server.create_user("bob@example.com").await;
    delete(&server, &ada.id).await;

    // Past what the tail has, and what the database has.
    for resumed in [None, Some(&begin)] {
        if let Some(token) = resumed {
            let request = WatchUsersRequest {
                start: after(token).start,
                ..request.clone()
            };
            watch = Watch::begin(&server, request).await.unwrap();
        }
        assert_eq!(watch.change().await.r#type(), UserEventType::UserBlocked);
        assert_eq!(watch.change().await.r#type(), UserEventType::UserDeleted);
    }
}

async fn snapshot_and_changes_can_be_narrowed_to_users(t: Test) {
    let server = t.start().await;
    let ada = server.create_user("ada@example.com").await;
    let bob = server.create_user("bob@example.com").await;
    let nobody = NOBODY.to_owned();
    let request = WatchUsersRequest {
        user_ids: vec![nobody, bob.id.to_uppercase()],
        ..from_beginning()
    };
    let mut watch = Watch::begin(&server, request).await.unwrap();
    assert_eq!(watch.user().await, bob);
    watch.catch_up().await;

    rename(&server, &ada, "Ada").await;
    let renamed = rename(&server, &bob, "Bob").await;

    assert_eq!(watch.change().await.user, Some(renamed));
}

async fn checkpoints_come_while_nothing_happens(t: Test) {
    let server = t.start_with(&[CHECKPOINTS]).await;
    let mut watch = Watch::now(&server).await;
    let mut tokens = vec![watch.token.clone()];
    for _ in 0..3 {
        watch.checkpoint().await;
        tokens.push(watch.token.clone());
    }
    let ada = server.create_user("ada@example.com").await;
    assert_eq!(watch.change().await.user_id, ada.id);

    for token in tokens {
        let mut resumed = Watch::begin(&server, after(&token)).await.unwrap();
        assert_eq!(resumed.change().await.user_id, ada.id);
    }
}

async fn s08_no_message_has_a_secret(t: Test) {
    const OTHER: &str = "an entirely different secret";
    let server = t.start().await;
    let mut watch = Watch::now(&server).await;
    let (ada, tokens) = server.signed_in("ada@example.com").await;
    let request = SetPasswordRequest {
        user_id: ada.id.clone(),
        password: OTHER.to_owned(),
        ..SetPasswordRequest::default()
    };
    server.credentials().set_password(request).await.unwrap();
    let (_, tokens_of_bob) = server.signed_in("bob@example.com").await;

    let mut told = Vec::new();
    for expected in [
        UserEventType::UserCreated,
        UserEventType::PasswordSet,
        UserEventType::UserCreated,
    ] {
        let change = watch.change().await;
        assert_eq!(change.r#type(), expected);
        assert!(change.user.as_ref().unwrap().password_set);
        told.extend(change.encode_to_vec());
    }
    let mut snapshot = Watch::begin(&server, from_beginning()).await.unwrap();
    for _ in 0..2 {
        told.extend(snapshot.user().await.encode_to_vec());
    }
    let told = String::from_utf8_lossy(&told).into_owned();
    assert!(told.contains("ada@example.com"));
    for secret in [
        PASSWORD,
        OTHER,
        "$2",
        &tokens.refresh_token,
        &tokens.access_token,
        &tokens_of_bob.refresh_token,
    ] {
        assert!(!told.contains(secret), "{secret}");
    }
}

async fn an_id_that_is_given_again_is_told_again(t: Test) {
    let server = t.start().await;
    let ada = server.create_user("ada@example.com").await;
    let mut watch = Watch::now(&server).await;

    delete(&server, &ada.id).await;
    let again = new_user().email("other@example.com").user_id(&ada.id);
    let again = server.create(again).await.unwrap();

    let gone = watch.change().await;
    assert_eq!((gone.r#type(), gone.user), (UserEventType::UserDeleted, None));
    assert_eq!(watch.change().await.user, Some(again));
}
