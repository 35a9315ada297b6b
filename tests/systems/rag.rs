//! The RAG administration tool: the tables, the enum type and the repository of users.

use identity::clock::{Clock, SystemClock};
use identity::database::verify::Finding;
use identity::domain::{Email, FullName, ProfileUpdate, Refusal, UpdateUser, UserChange, UserId};
use identity::proto::identity::v1::{AuthProvider, RemovePasswordRequest};

use super::repository::{database, new_named, refusal, repository, without_request_id};
use super::rows::insert_by_hand;
use super::{columns, index_names, migrate, migration_names, table_names};
use crate::support::{Backend, Behaviour, Failure, Test, behaviours, new_user, postgres_only};

pub fn tests() -> Vec<Behaviour> {
    [
        behaviours![
            rag_01_a_user_has_the_columns_of_the_model,
            rag_01_auth_provider_says_how_the_account_began,
            rag_02_an_account_that_began_with_a_password_has_a_hash,
            rag_06_the_repository_finds_creates_and_updates_users,
            rag_06_the_repository_keeps_emails_unique,
            rag_09_users_are_created_found_and_unique,
            rag_10_the_migration_fits_an_empty_database,
            rag_10_the_checks_of_the_migration_hold,
        ],
        postgres_only![rag_10_the_migration_creates_the_enum_type],
    ]
    .concat()
}

/// The configuration of the tool: its administrators are known by their emails.
pub const CONFIGURATION: &[(&str, &str)] = &[("IDENTITY_REQUIRED_PROFILE_FIELDS", "email")];

async fn rag_01_a_user_has_the_columns_of_the_model(t: Test) {
    migrate(&t, &["up"]).await;
    let columns = columns(&t, "users").await;
    let (id, time, flag, provider) = match t.backend {
        Backend::Postgres => ("uuid", "timestamptz", "bool", "auth_provider"),
        Backend::Sqlite => ("blob", "integer", "boolean", "text"),
    };
    for column in [
        format!("id {id} NO"),
        "email text YES".to_owned(),
        "full_name text YES".to_owned(),
        "password_hash text YES".to_owned(),
        format!("auth_provider {provider} YES"),
        format!("is_active {flag} NO"),
        format!("created_at {time} NO"),
        format!("updated_at {time} NO"),
    ] {
        assert!(columns.contains(&column), "{column} in {columns:?}");
    }
}

async fn rag_01_auth_provider_says_how_the_account_began(t: Test) {
    let server = t.start_with(CONFIGURATION).await;

    let invited = server.create_user("invited@example.com").await;
    let with_password = server
        .create(
            new_user()
                .email("ada@example.com")
                .password("correct horse battery"),
        )
        .await
        .unwrap();

    assert_eq!(invited.auth_provider(), AuthProvider::Unspecified);
    assert_eq!(with_password.auth_provider(), AuthProvider::Password);
    t.begin_with_google().await;
    for (stored, expected) in [
        ("google", AuthProvider::Google),
        ("apple", AuthProvider::Apple),
        ("oidc", AuthProvider::Oidc),
    ] {
        t.sql(&format!("UPDATE users SET auth_provider = '{stored}'"))
            .await
            .unwrap();
        assert_eq!(server.get(&invited.id).await.unwrap().auth_provider(), expected);
    }
    assert!(
        t.sql("UPDATE users SET auth_provider = 'carrier pigeon'")
            .await
            .is_err()
    );
}

/// However the hash would get lost, and however the account would be called one that began so.
async fn rag_02_an_account_that_began_with_a_password_has_a_hash(t: Test) {
    let server = t.start_with(CONFIGURATION).await;
    let ada = server.create_with_password("ada@example.com").await;
    server.create_user("invited@example.com").await;
    assert_eq!(ada.auth_provider(), AuthProvider::Password);
    let stored = "SELECT auth_provider || ' ' || password_hash AS value FROM users
                  WHERE email = 'ada@example.com'";
    let before = t.sql_value(stored).await.unwrap();
    assert!(before.starts_with("password $2b$"), "{before}");

    for statement in [
        "UPDATE users SET password_hash = NULL WHERE email = 'ada@example.com'",
        "UPDATE users SET auth_provider = 'password' WHERE email = 'invited@example.com'",
    ] {
        let error = t.sql(statement).await.unwrap_err();
        assert!(
            error.contains("users_auth_provider_check"),
            "{statement}: {error}"
        );
    }
    let inserted = insert_by_hand(
        &t,
        "email, email_normalized, auth_provider",
        "'eve@example.com', 'eve@example.com', 'password'",
    );
    let error = inserted.await.unwrap_err();
    assert!(error.contains("users_auth_provider_check"), "{error}");

    // Nor does the service take the only credential away.
    let request = RemovePasswordRequest {
        user_id: ada.id,
        ..RemovePasswordRequest::default()
    };
    let refused = server.credentials().remove_password(request).await.unwrap_err();
    assert_eq!(Failure::from(refused).reason(), "LAST_CREDENTIAL");
    assert_eq!(t.sql_value(stored).await.unwrap(), before);
}

async fn rag_06_the_repository_finds_creates_and_updates_users(t: Test) {
    let users = repository(&t, CONFIGURATION).await;
    let email = Email::parse("Ada@example.com").unwrap();
    assert_eq!(users.get_by_email(&email).await.unwrap(), None);

    let created = users.create(new_named("Ada@example.com")).await.unwrap();
    assert_eq!(users.get_by_id(created.id).await.unwrap(), created);
    let other_case = Email::parse("ADA@EXAMPLE.COM").unwrap();
    assert_eq!(
        users.get_by_email(&other_case).await.unwrap().as_ref(),
        Some(&created)
    );

    let full_name = Some(Some(FullName::parse("Ada Lovelace").unwrap()));
    let update = UpdateUser {
        id: created.id,
        change: UserChange::UpdateProfile(ProfileUpdate {
            full_name,
            ..ProfileUpdate::default()
        }),
        etag: Some(created.etag()),
        now: SystemClock.now(),
    };
    let updated = users.change(without_request_id(update.clone())).await.unwrap();
    assert_eq!(users.get_by_id(created.id).await.unwrap(), updated);
    assert!(updated.updated_at > created.updated_at);

    let stale = users.change(without_request_id(update)).await.unwrap_err();
    assert_eq!(refusal(&stale), Some(Refusal::EtagMismatch(created.id)));
    let unknown = UserId::generate(SystemClock.now());
    let error = users.get_by_id(unknown).await.unwrap_err();
    assert_eq!(refusal(&error), Some(Refusal::UserNotFound(unknown)));
}

async fn rag_06_the_repository_keeps_emails_unique(t: Test) {
    let users = repository(&t, CONFIGURATION).await;
    users.create(new_named("ada@example.com")).await.unwrap();

    let error = users.create(new_named("ADA@example.com")).await.unwrap_err();

    assert_eq!(refusal(&error), Some(Refusal::EmailTaken));
}

async fn rag_09_users_are_created_found_and_unique(t: Test) {
    let users = repository(&t, CONFIGURATION).await;
    let (ada, nobody) = ("ada@example.com", "nobody@example.com");

    let created = users.create(new_named(ada)).await.unwrap();

    assert_eq!(created.profile.email, Email::parse(ada).ok());
    assert_eq!((created.is_active, created.is_blocked), (true, false));
    let found = users.get_by_email(&Email::parse(ada).unwrap()).await.unwrap();
    assert_eq!(found, Some(created));
    let not_found = users.get_by_email(&Email::parse(nobody).unwrap()).await.unwrap();
    assert_eq!(not_found, None);
    for taken in [ada, "ADA@Example.COM"] {
        let error = users.create(new_named(taken)).await.unwrap_err();
        assert_eq!(refusal(&error), Some(Refusal::EmailTaken), "{taken}");
    }
}

async fn rag_10_the_migration_fits_an_empty_database(t: Test) {
    assert!(table_names(&t).await.is_empty());

    let report = migrate(&t, &["up"]).await;

    assert_eq!(report.lines().count(), migration_names(t.backend).len());
    let tables = table_names(&t).await;
    for table in ["users", "request_ids"] {
        assert!(tables.contains(&table.to_owned()), "{tables:?}");
    }
    let indexes = [
        index_names(&t, "users").await,
        index_names(&t, "request_ids").await,
    ]
    .concat();
    for index in [
        "users_email_normalized_key",
        "users_username_normalized_key",
        "users_created_at_idx",
        "users_blocked_idx",
        "request_ids_expires_at_idx",
    ] {
        assert!(indexes.contains(&index.to_owned()), "{index} in {indexes:?}");
    }
    let findings = database(&t, CONFIGURATION).verify_schema().await.unwrap();
    let strange: Vec<&Finding> = findings
        .iter()
        .filter(|finding| !matches!(finding, Finding::Found(_)))
        .collect();
    assert!(strange.is_empty(), "{strange:?}");
}

async fn rag_10_the_migration_creates_the_enum_type(t: Test) {
    migrate(&t, &["up"]).await;
    let query = "SELECT enum_range(NULL::auth_provider)::text AS value";
    assert_eq!(
        t.sql_value(query).await.as_deref(),
        Some("{password,google,apple,oidc}")
    );
}

async fn rag_10_the_checks_of_the_migration_hold(t: Test) {
    let server = t.start_with(CONFIGURATION).await;
    server.create_user("ada@example.com").await;
    for (change, constraint) in [
        ("email = NULL, email_normalized = NULL", "users_identifier_check"),
        (
            "email = NULL, username = '\\d\\u', username_normalized = '\\d\\u'",
            "users_email_normalized_check",
        ),
        ("email = 'ada', email_normalized = 'ada'", "users_email_check"),
        (
            "username = 'ada', username_normalized = 'ada'",
            "users_username_check",
        ),
        ("username = '\\d\\u'", "users_username_normalized_check"),
        ("full_name = ''", "users_full_name_check"),
        ("birth_date = '9999-12-31'", "users_birth_date_check"),
        ("password_hash = 'short'", "users_password_hash_check"),
        ("auth_provider = 'password'", "users_auth_provider_check"),
        ("block_reason = 'not blocked at all'", "users_block_reason_check"),
    ] {
        let error = t.sql(&format!("UPDATE users SET {change}")).await.unwrap_err();
        assert!(error.contains(constraint), "{change}: {error}");
    }
}
