//! The numerology application: what is left of a user who was deleted.

use identity::proto::identity::v1::{
    Client, CreatePasswordResetRequest, SignInWithPasswordRequest, Tokens, User, UserEventType,
};

use super::calls::{block, delete, unblock, update};
use super::numerology::{CONFIGURATION, ada};
use crate::security::scan::{assert_free_of, stored};
use crate::security_service::calls::{history, history_types};
use crate::support::{Backend, Behaviour, Clients, PASSWORD, Test, behaviours, new_user};

pub fn tests() -> Vec<Behaviour> {
    behaviours![num_09_a_deletion_leaves_events_and_nothing_that_tells_who_it_was]
}

const USERNAME: &str = r"\salon\enchantress";
const ADDRESS: &str = "203.0.113.77";
const USER_AGENT: &str = "Analytical Engine 1.0";
const BLOCK_REASON: &str = "owes the turf a fortune";

/// Everything that tells who the user is.
const PERSONAL: [&str; 12] = [
    "Ada@example.com",
    "ada@example.com",
    "countess@example.org",
    USERNAME,
    "enchantress",
    "Ada Lovelace",
    "Ada King",
    "1815-12-10",
    "1815-12-11",
    ADDRESS,
    USER_AGENT,
    BLOCK_REASON,
];

async fn sign_in(clients: &Clients, identifier: &str, password: &str) -> Option<Tokens> {
    let request = SignInWithPasswordRequest {
        identifier: identifier.to_owned(),
        password: password.to_owned(),
        client: Some(Client {
            ip_address: ADDRESS.to_owned(),
            user_agent: USER_AGENT.to_owned(),
            client_id: String::new(),
        }),
    };
    let answer = clients.auth().sign_in_with_password(request).await;
    answer.ok()?.into_inner().tokens
}

async fn num_09_a_deletion_leaves_events_and_nothing_that_tells_who_it_was(t: Test) {
    let server = t.start_with(CONFIGURATION).await;
    let other = new_user()
        .email("grace@example.com")
        .full_name("Grace Hopper")
        .birth_date(1906, 12, 9);
    server.create(other).await.unwrap();
    let user = ada().username(USERNAME).password(PASSWORD);
    let user = server.create(user).await.unwrap();
    // A life with everything that is stored.
    assert!(sign_in(&server, USERNAME, "not the password").await.is_none());
    let tokens = sign_in(&server, "ADA@example.com", PASSWORD).await.unwrap();
    server.refresh(&tokens.refresh_token).await.unwrap();
    let reset = CreatePasswordResetRequest {
        user_id: user.id.clone(),
    };
    server.credentials().create_password_reset(reset).await.unwrap();
    let mut changed = User {
        email: "countess@example.org".to_owned(),
        full_name: "Ada King".to_owned(),
        etag: String::new(),
        ..user.clone()
    };
    changed.birth_date.as_mut().unwrap().day = 11;
    let paths = ["email", "full_name", "birth_date"];
    update(&server, changed, &paths).await.unwrap();
    block(&server, &user.id, BLOCK_REASON).await;
    unblock(&server, &user.id).await;
    let before = places(&t).await;
    let is_anywhere = |text: &str| before.iter().any(|(_, stored)| stored.contains(text));
    for text in [
        "countess@example.org",
        "enchantress",
        "Ada King",
        ADDRESS,
        USER_AGENT,
    ] {
        assert!(is_anywhere(text), "{text} could not be found");
    }

    delete(&server, &user.id).await;

    let expected = [
        UserEventType::UserCreated,
        UserEventType::UserUpdated,
        UserEventType::UserBlocked,
        UserEventType::UserUnblocked,
        UserEventType::UserDeleted,
    ];
    assert_eq!(history_types(&server, &user.id).await, expected);
    let told = format!("{:?}", history(&server, &user.id).await);
    assert_free_of("the list of events", &told, &PERSONAL);
    // That fields changed may be known, and in which: not from what and to what.
    assert!(told.contains("birth_date") && told.contains("email"), "{told}");
    server.shutdown().await;
    if t.backend == Backend::Sqlite {
        t.sql("PRAGMA wal_checkpoint(TRUNCATE)").await.unwrap();
    }
    let after = places(&t).await;
    assert!(after.iter().any(|(_, stored)| stored.contains("user_deleted")));
    for (place, stored) in after {
        assert_free_of(&place, &stored, &PERSONAL);
    }
}

/// What is at rest, but for the key of the server.
async fn places(t: &Test) -> Vec<(String, String)> {
    let places = stored(t).await;
    assert!(!places.is_empty());
    places
}
