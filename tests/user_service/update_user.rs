//! `UpdateUser`.

use identity::proto::google::r#type::Date;
use identity::proto::identity::v1::{UpdateUserRequest, User};
use tonic::Code;

use super::calls::{NOBODY, assert_failed, assert_refused, lookup_email, update};
use crate::support::{Behaviour, Clients, Failure, Test, TestServer, behaviours, new_user};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        without_a_mask_the_fields_with_a_value_are_changed,
        g04_a_mask_changes_its_fields_and_no_others,
        g04_a_masked_field_without_value_is_cleared,
        g04_a_star_replaces_the_whole_profile,
        g04_bad_paths_refuse_the_whole_update,
        g04_ten_thousand_paths_are_refused_with_a_short_answer,
        g04_a_user_keeps_an_email_or_a_username,
        g04_a_required_field_cannot_be_cleared,
        g05_a_changed_email_is_not_verified,
        g05_a_change_of_case_keeps_the_email_verified,
        g05_names_stay_unique,
        an_update_that_changes_nothing_leaves_the_user_alone,
        every_bad_field_of_the_mask_is_reported_at_once,
        updating_nobody_is_not_found,
    ]
}

async fn create_ada(server: &TestServer) -> User {
    let ada = new_user()
        .email("ada@example.com")
        .username(r"\corp\ada")
        .full_name("Ada Lovelace")
        .birth_date(1815, 12, 10);
    server.create(ada).await.unwrap()
}

async fn update_without_mask(clients: &Clients, user: User) -> Result<User, Failure> {
    let request = UpdateUserRequest {
        user: Some(user),
        ..UpdateUserRequest::default()
    };
    let response = clients.users().update_user(request).await?;
    Ok(response.into_inner().user.expect("a user in the response"))
}

/// The user as it was, except for what every change moves.
fn moved(user: User, to: &User) -> User {
    User {
        etag: to.etag.clone(),
        update_time: to.update_time,
        ..user
    }
}

async fn without_a_mask_the_fields_with_a_value_are_changed(t: Test) {
    let server = t.start().await;
    let ada = create_ada(&server).await;
    let change = User {
        id: ada.id.to_uppercase(),
        full_name: "Ada King".to_owned(),
        is_blocked: true,
        ..User::default()
    };

    let by_absent_mask = update_without_mask(&server, change.clone()).await.unwrap();

    let expected = User {
        full_name: "Ada King".to_owned(),
        ..ada
    };
    assert_eq!(by_absent_mask, moved(expected, &by_absent_mask));
    assert_eq!(server.get(&by_absent_mask.id).await.unwrap(), by_absent_mask);

    // An empty mask is the same as none.
    let change = User {
        full_name: "Ada".to_owned(),
        ..change
    };
    let by_empty_mask = update(&server, change, &[]).await.unwrap();
    assert_eq!(by_empty_mask.full_name, "Ada");
    assert_eq!(by_empty_mask.email, "ada@example.com");
}

async fn g04_a_mask_changes_its_fields_and_no_others(t: Test) {
    let server = t.start().await;
    let ada = create_ada(&server).await;
    let change = User {
        id: ada.id.clone(),
        email: "countess@example.com".to_owned(),
        username: r"\corp\countess".to_owned(),
        full_name: "Countess of Lovelace".to_owned(),
        // Not looked at unless the mask names it.
        birth_date: Some(Date {
            year: 0,
            month: 99,
            day: -1,
        }),
        ..User::default()
    };

    let updated = update(&server, change, &["username", "email"]).await.unwrap();

    let expected = User {
        email: "countess@example.com".to_owned(),
        username: r"\corp\countess".to_owned(),
        ..ada
    };
    assert_eq!(updated, moved(expected, &updated));
    assert_eq!(server.get(&updated.id).await.unwrap(), updated);
}

async fn g04_a_masked_field_without_value_is_cleared(t: Test) {
    let server = t.start().await;
    for (number, path) in ["email", "username", "full_name", "birth_date"]
        .into_iter()
        .enumerate()
    {
        let user = new_user()
            .email(&format!("ada{number}@example.com"))
            .username(&format!(r"\corp\ada{number}"))
            .full_name("Ada Lovelace")
            .birth_date(1815, 12, 10);
        let ada = server.create(user).await.unwrap();
        let empty = User {
            id: ada.id.clone(),
            ..User::default()
        };

        let cleared = update(&server, empty, &[path]).await.unwrap();

        let mut expected = moved(ada, &cleared);
        match path {
            "email" => expected.email.clear(),
            "username" => expected.username.clear(),
            "full_name" => expected.full_name.clear(),
            _ => expected.birth_date = None,
        }
        assert_eq!(cleared, expected, "{path}");
        assert_eq!(server.get(&cleared.id).await.unwrap(), cleared, "{path}");
    }
    // A cleared email is free.
    server.create_user("ada0@example.com").await;
}

async fn g04_a_star_replaces_the_whole_profile(t: Test) {
    let server = t.start().await;
    let ada = create_ada(&server).await;
    let change = User {
        id: ada.id.clone(),
        email: "countess@example.com".to_owned(),
        ..User::default()
    };

    let updated = update(&server, change.clone(), &["*"]).await.unwrap();

    let expected = User {
        is_active: true,
        create_time: ada.create_time,
        ..change
    };
    assert_eq!(updated, moved(expected, &updated));
}

async fn g04_bad_paths_refuse_the_whole_update(t: Test) {
    let server = t.start().await;
    let ada = create_ada(&server).await;
    let mut change = ada.clone();
    change.full_name = "Changed".to_owned();
    change.etag.clear();
    for (path, reason) in [
        ("id", "FIELD_NOT_WRITABLE"),
        ("email_verified", "FIELD_NOT_WRITABLE"),
        ("auth_provider", "FIELD_NOT_WRITABLE"),
        ("is_active", "FIELD_NOT_WRITABLE"),
        ("is_blocked", "FIELD_NOT_WRITABLE"),
        ("block_reason", "FIELD_NOT_WRITABLE"),
        ("password_set", "FIELD_NOT_WRITABLE"),
        ("create_time", "FIELD_NOT_WRITABLE"),
        ("update_time", "FIELD_NOT_WRITABLE"),
        ("etag", "FIELD_NOT_WRITABLE"),
        ("full_name", "DUPLICATE_VALUE"),
        ("password", "UNKNOWN_FIELD_PATH"),
        ("password_hash", "UNKNOWN_FIELD_PATH"),
        ("state", "UNKNOWN_FIELD_PATH"),
        ("version", "UNKNOWN_FIELD_PATH"),
        ("user.email", "UNKNOWN_FIELD_PATH"),
        ("user", "UNKNOWN_FIELD_PATH"),
        ("birth_date.year", "UNKNOWN_FIELD_PATH"),
        ("fullName", "UNKNOWN_FIELD_PATH"),
        ("Email", "UNKNOWN_FIELD_PATH"),
        ("email ", "UNKNOWN_FIELD_PATH"),
        ("", "UNKNOWN_FIELD_PATH"),
        ("*", "UNKNOWN_FIELD_PATH"),
        ("email_normalized = 'x' --", "UNKNOWN_FIELD_PATH"),
    ] {
        let result = update(&server, change.clone(), &["full_name", path]).await;
        assert_refused(result, "update_mask.paths[1]", reason);
    }
    let result = update(
        &server,
        change,
        &["email", "username", "full_name", "birth_date", "*"],
    )
    .await;
    assert_refused(result, "update_mask.paths[4]", "UNKNOWN_FIELD_PATH");
    assert_eq!(server.get(&ada.id).await.unwrap(), ada);
}

async fn g04_ten_thousand_paths_are_refused_with_a_short_answer(t: Test) {
    let server = t.start().await;
    let ada = create_ada(&server).await;

    let paths = vec!["full_name"; 10_000];
    let failure = update(&server, ada.clone(), &paths).await.unwrap_err();

    assert_eq!(
        failure.fields(),
        [("update_mask".to_owned(), "VALUE_OUT_OF_RANGE".to_owned())]
    );
    assert_eq!(server.get(&ada.id).await.unwrap(), ada);
}

async fn g04_a_user_keeps_an_email_or_a_username(t: Test) {
    let server = t.start().await;
    let ada = create_ada(&server).await;
    let empty = User {
        id: ada.id.clone(),
        ..User::default()
    };

    let both = update(&server, empty.clone(), &["email", "username"]).await;
    assert_refused(both, "user.email", "FIELD_REQUIRED");
    let all = update(&server, empty.clone(), &["*"]).await;
    assert_refused(all, "user.email", "FIELD_REQUIRED");
    assert_eq!(server.get(&ada.id).await.unwrap(), ada);

    update(&server, empty.clone(), &["username"]).await.unwrap();
    let last = update(&server, empty, &["email"]).await;
    assert_refused(last, "user.email", "FIELD_REQUIRED");
}

async fn g04_a_required_field_cannot_be_cleared(t: Test) {
    let required = "email,birth_date";
    let server = t
        .start_with(&[("IDENTITY_REQUIRED_PROFILE_FIELDS", required)])
        .await;
    let ada = create_ada(&server).await;
    let empty = User {
        id: ada.id.clone(),
        ..User::default()
    };

    for path in ["email", "birth_date"] {
        let result = update(&server, empty.clone(), &[path]).await;
        assert_refused(result, &format!("user.{path}"), "FIELD_REQUIRED");
    }
    let failure = update(&server, empty.clone(), &["*"]).await.unwrap_err();
    assert_eq!(failure.fields().len(), 2, "{failure:?}");
    assert_eq!(server.get(&ada.id).await.unwrap(), ada);

    let cleared = update(&server, empty, &["full_name", "username"]).await.unwrap();
    assert_eq!((cleared.full_name.as_str(), cleared.username.as_str()), ("", ""));
}

/// Confirms every email, as the owner of the mailbox would.
async fn verify_emails(t: &Test) {
    t.sql("UPDATE users SET email_verified_at = created_at")
        .await
        .unwrap();
}

async fn g05_a_changed_email_is_not_verified(t: Test) {
    let server = t.start().await;
    let ada = create_ada(&server).await;
    for path in ["email", "*"] {
        verify_emails(&t).await;
        assert!(server.get(&ada.id).await.unwrap().email_verified);
        let change = User {
            id: ada.id.clone(),
            email: format!("countess{}@example.com", path.len()),
            ..User::default()
        };

        let updated = update(&server, change, &[path]).await.unwrap();

        assert!(!updated.email_verified, "{path}");
        assert_eq!(server.get(&ada.id).await.unwrap(), updated);
    }

    // The way back does not bring the verification back, nor does clearing keep one.
    verify_emails(&t).await;
    let named = User {
        id: ada.id.clone(),
        username: r"\corp\ada".to_owned(),
        ..User::default()
    };
    let cleared = update(&server, named, &["*"]).await.unwrap();
    assert!(!cleared.email_verified && cleared.email.is_empty());
    let back = User {
        id: ada.id,
        email: "ada@example.com".to_owned(),
        ..User::default()
    };
    assert!(!update(&server, back, &["email"]).await.unwrap().email_verified);
}

async fn g05_a_change_of_case_keeps_the_email_verified(t: Test) {
    let server = t.start().await;
    let ada = create_ada(&server).await;
    verify_emails(&t).await;

    let change = User {
        id: ada.id,
        email: "ADA@Example.com".to_owned(),
        full_name: "Ada King".to_owned(),
        ..User::default()
    };
    let updated = update_without_mask(&server, change).await.unwrap();

    assert!(updated.email_verified);
    assert_eq!(updated.email, "ADA@Example.com");
    assert_eq!(lookup_email(&server, "ada@example.com").await.unwrap(), updated);
}

async fn g05_names_stay_unique(t: Test) {
    let server = t.start().await;
    create_ada(&server).await;
    let bob = server.create_user("bob@example.com").await;
    for (path, reason) in [("email", "EMAIL_TAKEN"), ("username", "USERNAME_TAKEN")] {
        let change = User {
            id: bob.id.clone(),
            email: "ADA@example.com".to_owned(),
            username: r"\CORP\ada".to_owned(),
            full_name: "Bob".to_owned(),
            ..User::default()
        };
        let result = update(&server, change, &[path, "full_name"]).await;
        assert_failed(result, Code::AlreadyExists, reason);
    }
    assert_eq!(server.get(&bob.id).await.unwrap(), bob);
}

async fn an_update_that_changes_nothing_leaves_the_user_alone(t: Test) {
    let server = t.start().await;
    let ada = create_ada(&server).await;
    t.clock.advance(chrono::TimeDelta::hours(1));

    let by_values = update_without_mask(&server, ada.clone()).await.unwrap();
    assert_eq!(by_values, ada);
    let by_star = update(&server, ada.clone(), &["*"]).await.unwrap();
    assert_eq!(by_star, ada);
    let nothing = User {
        id: ada.id.clone(),
        ..User::default()
    };
    let by_nothing = update_without_mask(&server, nothing).await.unwrap();
    assert_eq!(by_nothing, ada);
    assert_eq!(server.get(&ada.id).await.unwrap(), ada);
}

async fn every_bad_field_of_the_mask_is_reported_at_once(t: Test) {
    let server = t.start().await;
    let change = User {
        id: "1".to_owned(),
        email: "ada".to_owned(),
        username: "ada".to_owned(),
        full_name: "\u{7}".to_owned(),
        birth_date: Some(Date::default()),
        etag: "e".repeat(65),
        ..User::default()
    };

    let failure = update(
        &server,
        change,
        &["email", "username", "full_name", "birth_date", "id"],
    )
    .await
    .unwrap_err();

    let mut fields: Vec<String> = failure.fields().into_iter().map(|(field, _)| field).collect();
    fields.sort();
    assert_eq!(
        fields,
        [
            "update_mask.paths[4]",
            "user.birth_date",
            "user.email",
            "user.etag",
            "user.full_name",
            "user.id",
            "user.username",
        ]
    );
    assert_eq!(failure.reason(), "INVALID_FIELDS");
}

async fn updating_nobody_is_not_found(t: Test) {
    let server = t.start().await;
    let nobody = |id: &str| User {
        id: id.to_owned(),
        full_name: "Nobody".to_owned(),
        ..User::default()
    };

    let unknown = update_without_mask(&server, nobody(NOBODY)).await;
    assert_failed(unknown, Code::NotFound, "USER_NOT_FOUND");
    let unnamed = update_without_mask(&server, nobody("")).await;
    assert_refused(unnamed, "user.id", "FIELD_REQUIRED");
}
