//! Passwords at `CreateUser`: which are accepted, and what is kept of them.

use identity::proto::identity::v1::{CreateUserRequest, GetUserRequest, User};
use tonic::Code;

use super::calls::{PASSWORD, assert_refused, count};
use super::input::call_raw;
use crate::support::{Behaviour, Clients, Failure, Test, behaviours, new_user};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        p02_p05_lengths_of_a_password,
        p05_the_minimum_can_be_lowered_to_eight,
        p07_no_composition_is_asked_for,
        p14_equal_passwords_have_different_hashes_of_60_characters,
        p14_no_reply_has_a_hash_or_a_password,
        password_is_normalised_to_nfc_and_otherwise_kept,
        user_without_password_has_no_hash,
    ]
}

async fn create_with(clients: &Clients, number: usize, password: &str) -> Result<User, Failure> {
    let email = format!("user{number}@example.com");
    clients.create(new_user().email(&email).password(password)).await
}

async fn p02_p05_lengths_of_a_password(t: Test) {
    let server = t.start().await;
    for (number, password) in [
        "abc".repeat(5),
        "\u{1f511}".repeat(15),
        // Fifteen characters once normalised, of two code points each as typed.
        "e\u{301}".repeat(15),
        format!("{}ab", "abc".repeat(23)),
        "abc".repeat(24),
        "\u{1f511}".repeat(18),
    ]
    .iter()
    .enumerate()
    {
        let user = create_with(&server, number, password).await.expect(password);
        assert!(user.password_set);
        let hash = stored_hash(&t, &user.email).await.unwrap();
        let composed = password.replace("e\u{301}", "\u{e9}");
        assert!(bcrypt::verify(&composed, &hash).unwrap(), "all of it is hashed");
        let mut shorter = composed;
        shorter.pop();
        assert!(!bcrypt::verify(&shorter, &hash).unwrap(), "to the last character");
    }
    let created = count(&t, "users").await;

    for (password, reason, limit) in [
        ("a".to_owned(), "PASSWORD_TOO_WEAK", Some("15")),
        ("a".repeat(14), "PASSWORD_TOO_WEAK", Some("15")),
        ("\u{1f511}".repeat(14), "PASSWORD_TOO_WEAK", Some("15")),
        ("e\u{301}".repeat(14), "PASSWORD_TOO_WEAK", Some("15")),
        ("a".repeat(73), "VALUE_OUT_OF_RANGE", Some("72")),
        ("\u{1f511}".repeat(19), "VALUE_OUT_OF_RANGE", Some("72")),
        ("\u{1f511}".repeat(64), "VALUE_OUT_OF_RANGE", Some("72")),
        ("a".repeat(100_000), "VALUE_OUT_OF_RANGE", Some("72")),
        ("a password with \0 in it".to_owned(), "INVALID_FORMAT", None),
    ] {
        let failure = create_with(&server, 99, &password).await.expect_err(reason);
        assert_eq!(
            (failure.code(), failure.reason().as_str()),
            (Code::InvalidArgument, reason)
        );
        assert_eq!(failure.fields(), [("password".to_owned(), reason.to_owned())]);
        assert_eq!(failure.metadata("limit").as_deref(), limit);
        let is_telling = password.len() > 8;
        assert!(
            !is_telling || !format!("{failure:?}").contains(&password),
            "not repeated"
        );
    }
    assert_eq!(count(&t, "users").await, created);
}

async fn p05_the_minimum_can_be_lowered_to_eight(t: Test) {
    let server = t.start_with(&[("IDENTITY_PASSWORD_MIN_LENGTH", "8")]).await;

    let failure = create_with(&server, 0, "1234567").await.unwrap_err();
    assert_eq!(failure.metadata("limit").as_deref(), Some("8"));
    create_with(&server, 1, "kw4#zq2v").await.unwrap();
}

async fn p07_no_composition_is_asked_for(t: Test) {
    let server = t.start().await;
    for (number, password) in [
        "abcdefghijklmnopqrst",
        "    words and spaces    ",
        "907618253412390",
        "\u{1f511}\u{1f98a}\u{1f433}\u{1f33b}\u{1f511}\u{1f98a}\u{1f433}\u{1f33b}\u{1f511}\u{1f98a}\u{1f433}\u{1f33b}\u{1f511}\u{1f98a}\u{1f433}",
        "пароль от моего дома",
        "tab\tand\nnewline inside",
    ]
    .into_iter()
    .enumerate()
    {
        create_with(&server, number, password).await.expect(password);
    }
}

async fn stored_hash(t: &Test, email: &str) -> Option<String> {
    t.sql_value(&format!(
        "SELECT password_hash AS value FROM users WHERE email = '{email}'"
    ))
    .await
}

async fn p14_equal_passwords_have_different_hashes_of_60_characters(t: Test) {
    let server = t.start_with(&[("IDENTITY_BCRYPT_COST", "5")]).await;
    create_with(&server, 1, PASSWORD).await.unwrap();
    create_with(&server, 2, PASSWORD).await.unwrap();

    let first = stored_hash(&t, "user1@example.com").await.unwrap();
    let second = stored_hash(&t, "user2@example.com").await.unwrap();

    assert_ne!(first, second);
    for hash in [first, second] {
        assert_eq!(hash.len(), 60);
        assert!(hash.starts_with("$2b$05$"), "the configured cost");
        assert!(bcrypt::verify(PASSWORD, &hash).unwrap());
        assert!(!bcrypt::verify("correct horse battery stapl", &hash).unwrap());
    }
}

async fn p14_no_reply_has_a_hash_or_a_password(t: Test) {
    let server = t.start().await;
    let request = CreateUserRequest {
        user: Some(User {
            email: "ada@example.com".to_owned(),
            ..User::default()
        }),
        password: PASSWORD.to_owned(),
        ..CreateUserRequest::default()
    };

    // The bytes, because a client drops fields that it does not know.
    let created = call_raw(&server, "CreateUser", &prost::Message::encode_to_vec(&request))
        .await
        .unwrap();
    let user_id = super::calls::lookup_email(&server, "ada@example.com")
        .await
        .unwrap()
        .id;
    let get = prost::Message::encode_to_vec(&GetUserRequest { user_id });
    let fetched = call_raw(&server, "GetUser", &get).await.unwrap();

    let hash = stored_hash(&t, "ada@example.com").await.unwrap();
    for reply in [created, fetched] {
        let text = String::from_utf8_lossy(&reply);
        assert!(text.contains("ada@example.com"));
        assert!(!text.contains(&hash[7..]) && !text.contains("$2b$"), "{text}");
        assert!(!text.contains(PASSWORD), "{text}");
    }
}

async fn password_is_normalised_to_nfc_and_otherwise_kept(t: Test) {
    let server = t.start().await;
    create_with(&server, 1, "  Cafe\u{301} \u{fb01}ne \u{ff41} la carte  ")
        .await
        .unwrap();

    let hash = stored_hash(&t, "user1@example.com").await.unwrap();

    assert!(bcrypt::verify("  Caf\u{e9} \u{fb01}ne \u{ff41} la carte  ", &hash).unwrap());
}

async fn user_without_password_has_no_hash(t: Test) {
    let server = t.start().await;
    let user = server.create_user("ada@example.com").await;

    assert!(!user.password_set);
    assert_eq!(stored_hash(&t, "ada@example.com").await, None);
    // An empty password is no password, but spaces are not empty.
    let spaces = new_user().email("bob@example.com").password(" ");
    assert_refused(server.create(spaces).await, "password", "PASSWORD_TOO_WEAK");
}
