//! `CreateUser`.

use tonic::Code;

use crate::support::{Behaviour, Test, behaviours, new_user};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        created_user_is_returned_and_can_be_fetched,
        email_is_unique,
        request_id_makes_a_retry_safe
    ]
}

async fn created_user_is_returned_and_can_be_fetched(t: Test) {
    let server = t.start().await;
    let id = "0190a6e1-7d5c-7abc-8def-0123456789ab";

    let created = server
        .create(
            new_user()
                .user_id(id)
                .email("Ada@example.com")
                .username(r"\corp\ada")
                .full_name("Ada Lovelace")
                .birth_date(1815, 12, 10)
                .password("correct horse battery staple"),
        )
        .await
        .unwrap();

    assert_eq!(created.id, id);
    assert_eq!(created.email, "Ada@example.com");
    assert_eq!(created.username, r"\corp\ada");
    assert_eq!(created.full_name, "Ada Lovelace");
    assert_eq!(
        created.birth_date.map(|date| (date.year, date.month, date.day)),
        Some((1815, 12, 10))
    );
    assert!(created.password_set && created.is_active && !created.is_blocked);
    assert_eq!(server.get(id).await.unwrap(), created);
}

async fn email_is_unique(t: Test) {
    let server = t.start().await;
    server.create_user("ada@example.com").await;

    let failure = server
        .create(new_user().email("ADA@example.com"))
        .await
        .unwrap_err();

    assert_eq!(
        (failure.code(), failure.reason().as_str()),
        (Code::AlreadyExists, "EMAIL_TAKEN")
    );
}

async fn request_id_makes_a_retry_safe(t: Test) {
    let server = t.start().await;
    let request = new_user()
        .email("ada@example.com")
        .request_id("7c9e6679-7425-40de-944b-e07fc1f90ae7");
    let first = server.create(request.clone()).await.unwrap();

    let second = server.create(request).await.unwrap();

    assert_eq!(second, first);
    assert_eq!(
        t.sql_value("SELECT count(*) AS value FROM users")
            .await
            .as_deref(),
        Some("1")
    );
}
