//! The numerology application: users with a full name and a birth date, and the migrations that make them.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Timelike, Utc};
use identity::clock::{Clock, SystemClock};
use identity::domain::{DeleteUser, Email, FullName, ProfileUpdate, Refusal, UpdateUser, UserChange};
use identity::proto::google::r#type::Date;
use identity::proto::identity::v1::User;
use prost_types::Timestamp;
use tonic::Code;
use uuid::Uuid;

use super::calls::{delete, look_up, update};
use super::plans::{list_of, plan_of_last_read, spawn_with_echo};
use super::repository::{new_named, refusal, repository, without_request_id};
use super::rows::{fill, insert_by_hand};
use super::{index_names, migrate, migrate_down, migration_names, table_names};
use crate::support::{Backend, Behaviour, NewUser as Newcomer, Test, TestServer, behaviours, new_user};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        num_01_a_user_has_the_fields_of_the_model,
        num_02_full_name_and_birth_date_can_be_required,
        num_03_email_is_unique,
        num_03_email_is_looked_up_through_its_index,
        num_04_a_malformed_email_is_refused_naming_the_field,
        num_05_a_birth_date_in_the_future_is_refused,
        num_05_a_birth_date_survives_every_time_zone,
        num_06_times_are_set_without_the_caller_and_move_on_every_update,
        num_10_migrations_create_remove_and_create_again,
        num_11_commands_show_what_they_do,
        num_12_users_are_managed_through_the_api,
        num_12_users_are_managed_through_the_repository,
        num_13_ids_cannot_be_guessed,
    ]
}

/// The configuration of the application.
pub const CONFIGURATION: &[(&str, &str)] =
    &[("IDENTITY_REQUIRED_PROFILE_FIELDS", "full_name,birth_date")];

async fn start(t: &Test) -> TestServer {
    t.start_with(CONFIGURATION).await
}

/// A user with everything that the application asks for.
pub fn ada() -> Newcomer {
    new_user()
        .email("Ada@example.com")
        .full_name("Ada Lovelace")
        .birth_date(1815, 12, 10)
}

async fn num_01_a_user_has_the_fields_of_the_model(t: Test) {
    let server = start(&t).await;

    let user = server
        .create(ada().password("correct horse battery"))
        .await
        .unwrap();

    assert!(Uuid::parse_str(&user.id).is_ok(), "{}", user.id);
    assert_eq!(
        (user.email.as_str(), user.full_name.as_str()),
        ("Ada@example.com", "Ada Lovelace")
    );
    assert_eq!(user.birth_date, Some(date(1815, 12, 10)));
    assert!(user.is_active && user.password_set);
    assert!(user.create_time.is_some() && user.update_time.is_some());
    assert_eq!(server.get(&user.id).await.unwrap(), user);
    let hash = t
        .sql_value("SELECT password_hash AS value FROM users")
        .await
        .unwrap();
    assert!(bcrypt::verify("correct horse battery", &hash).unwrap());
    insert_by_hand(
        &t,
        "email, email_normalized",
        "'hand@example.com', 'hand@example.com'",
    )
    .await
    .unwrap();
    assert!(look_up(&server, "hand@example.com").await.unwrap().is_active);
}

async fn num_02_full_name_and_birth_date_can_be_required(t: Test) {
    let strict = start(&t).await;
    let lenient = t.start().await;
    let required = |field: &str| (field.to_owned(), "FIELD_REQUIRED".to_owned());

    let failure = strict
        .create(new_user().email("ada@example.com"))
        .await
        .unwrap_err();

    assert_eq!(failure.code(), Code::InvalidArgument);
    assert_eq!(
        failure.fields(),
        [required("user.full_name"), required("user.birth_date")]
    );

    let user = strict.create(ada()).await.unwrap();
    let cleared = User {
        id: user.id,
        ..User::default()
    };
    let refused = update(&strict, cleared, &["full_name"]).await.unwrap_err();
    assert_eq!(refused.fields(), [required("user.full_name")]);

    assert!(
        lenient
            .create(new_user().email("grace@example.com"))
            .await
            .is_ok()
    );
}

async fn num_03_email_is_unique(t: Test) {
    let server = start(&t).await;
    server.create(ada()).await.unwrap();

    let failure = server.create(ada()).await.unwrap_err();
    let by_hand = insert_by_hand(
        &t,
        "email, email_normalized",
        "'ada@example.com', 'ada@example.com'",
    )
    .await;

    assert_eq!(
        (failure.code(), failure.reason().as_str()),
        (Code::AlreadyExists, "EMAIL_TAKEN")
    );
    let constraint = match t.backend {
        Backend::Postgres => "users_email_normalized_key",
        Backend::Sqlite => "UNIQUE constraint failed: users.email_normalized",
    };
    let error = by_hand.unwrap_err();
    assert!(error.contains(constraint), "{error}");
}

async fn num_03_email_is_looked_up_through_its_index(t: Test) {
    let process = spawn_with_echo(&t, CONFIGURATION).await;
    fill(&t, 2000).await;

    let user = look_up(&process, "filler-01234@example.com").await.unwrap();

    assert_eq!(user.email, "filler-01234@example.com");
    // A list, because calls that wait together are answered together.
    let plan = plan_of_last_read(&t, &process, &list_of(&t, "filler-01234@example.com")).await;
    // PostgreSQL has two indexes on the column and may take either.
    assert!(
        plan.contains("users_email_normalized_key") || plan.contains("users_email_prefix_idx"),
        "{plan}"
    );
}

async fn num_04_a_malformed_email_is_refused_naming_the_field(t: Test) {
    let server = start(&t).await;
    for email in [
        "ada",
        "ada@",
        "@example.com",
        "ada@@example.com",
        "ada@example",
        "a da@example.com",
    ] {
        let failure = server.create(ada().email(email)).await.unwrap_err();

        assert_eq!(failure.code(), Code::InvalidArgument, "{email}");
        let expected = [("user.email".to_owned(), "INVALID_FORMAT".to_owned())];
        assert_eq!(failure.fields(), expected, "{email}");
    }
}

async fn num_05_a_birth_date_in_the_future_is_refused(t: Test) {
    // At noon of the day before, so that the day does not end while the test runs.
    let since_noon = TimeDelta::hours(i64::from(Utc::now().hour()) - 12);
    t.clock.advance(-TimeDelta::days(1) - since_noon);
    let server = start(&t).await;
    let today = t.clock.now().date_naive();
    let tomorrow = date_of(today + TimeDelta::days(1));

    let failure = server
        .create(ada().birth_date(tomorrow.year, tomorrow.month, tomorrow.day))
        .await
        .unwrap_err();

    assert_eq!(failure.code(), Code::InvalidArgument);
    let expected = [("user.birth_date".to_owned(), "VALUE_OUT_OF_RANGE".to_owned())];
    assert_eq!(failure.fields(), expected);
    let today = date_of(today);
    assert!(
        server
            .create(ada().birth_date(today.year, today.month, today.day))
            .await
            .is_ok()
    );
    let by_hand = insert_by_hand(
        &t,
        "email, email_normalized, birth_date",
        "'b@example.com', 'b@example.com', '9999-01-01'",
    );
    let error = by_hand.await.unwrap_err();
    assert!(error.contains("users_birth_date_check"), "{error}");
}

/// The server and the sessions of the database are as far east, and then as far west, as can be.
async fn num_05_a_birth_date_survives_every_time_zone(t: Test) {
    for (number, zone) in ["EAST-14", "WEST+12"].into_iter().enumerate() {
        if t.backend == Backend::Postgres {
            let alter = format!(
                "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET timezone = ''{zone}''', current_database());
                 END $$"
            );
            t.sql(&alter).await.unwrap();
        }
        let variables = [CONFIGURATION, &[("TZ", zone)]].concat();
        let mut process = t.spawn(&variables, &["serve"]);
        process.wait_until_serving().await;
        let email = format!("{number}@example.com");

        let user = process
            .create(ada().email(&email).birth_date(2000, 2, 29))
            .await
            .unwrap();

        assert_eq!(user.birth_date, Some(date(2000, 2, 29)), "{zone}");
        let earlier = look_up(&process, "0@example.com").await.unwrap();
        assert_eq!(earlier.birth_date, Some(date(2000, 2, 29)), "{zone}");
        let stored = t.sql_values("SELECT birth_date AS value FROM users").await;
        assert!(
            stored.iter().all(|date| date.as_deref() == Some("2000-02-29")),
            "{stored:?}"
        );
    }
}

async fn num_06_times_are_set_without_the_caller_and_move_on_every_update(t: Test) {
    let server = start(&t).await;
    let before = SystemClock.now();

    let created = server.create(ada()).await.unwrap();

    let create_time = time(created.create_time.as_ref());
    assert!(
        (before..=SystemClock.now()).contains(&create_time),
        "{create_time}"
    );
    assert_eq!(created.update_time, created.create_time);
    let stored = match t.backend {
        Backend::Postgres => {
            "SELECT (extract(epoch FROM created_at) * 1000000)::bigint AS value FROM users"
        }
        Backend::Sqlite => "SELECT created_at AS value FROM users",
    };
    let microseconds = create_time.timestamp_micros().to_string();
    assert_eq!(t.sql_value(stored).await, Some(microseconds));

    let renamed = User {
        full_name: "Ada King".to_owned(),
        ..created.clone()
    };
    let updated = update(&server, renamed, &["full_name"]).await.unwrap();
    assert_eq!(updated.create_time, created.create_time);
    assert!(time(updated.update_time.as_ref()) > create_time);

    t.sql("UPDATE users SET full_name = 'Countess'").await.unwrap();
    let by_hand = server.get(&created.id).await.unwrap();
    assert_eq!(by_hand.full_name, "Countess");
    assert_eq!(by_hand.create_time, created.create_time);
    assert!(time(by_hand.update_time.as_ref()) > time(updated.update_time.as_ref()));
    assert_ne!(by_hand.etag, updated.etag);
}

async fn num_10_migrations_create_remove_and_create_again(t: Test) {
    for _ in 0..2 {
        migrate(&t, &["up"]).await;
        assert!(table_names(&t).await.contains(&"users".to_owned()));
        let indexes = index_names(&t, "users").await;
        assert!(
            indexes.contains(&"users_email_normalized_key".to_owned()),
            "{indexes:?}"
        );

        let again = migrate(&t, &["up"]).await;
        assert_eq!(again.trim_end(), "nothing to apply: the database is up to date");

        migrate_down(&t).await;
        assert!(!table_names(&t).await.contains(&"users".to_owned()));
        assert!(index_names(&t, "users").await.is_empty());
    }
}

async fn num_11_commands_show_what_they_do(t: Test) {
    let names = migration_names(t.backend);
    let (count, latest) = (names.len(), names.last().unwrap());

    let empty = migrate(&t, &["status"]).await;
    assert!(
        empty.starts_with(&format!("version: none\napplied: 0\npending: {count}\n")),
        "{empty}"
    );

    let up = migrate(&t, &["up"]).await;
    let expected: Vec<String> = names.iter().map(|name| format!("applied {name}")).collect();
    assert_eq!(up.lines().collect::<Vec<_>>(), expected);

    let status = migrate(&t, &["status"]).await;
    assert_eq!(
        status,
        format!("version: {latest}\napplied: {count}\npending: 0\n")
    );

    let down = migrate(&t, &["down"]).await;
    assert_eq!(down, format!("reverted {latest}\n"));

    let history = migrate(&t, &["history"]).await;
    let lines: Vec<(&str, &str)> = history
        .lines()
        .map(|line| {
            line.split_once(' ')
                .map(|(when, name)| (when, name.trim()))
                .unwrap()
        })
        .collect();
    assert_eq!(lines.iter().map(|(_, name)| *name).collect::<Vec<_>>(), names);
    for (when, name) in lines {
        let is_pending = name == latest;
        assert!(is_pending == (when == "pending"), "{history}");
        assert!(
            is_pending || DateTime::parse_from_rfc3339(when).is_ok(),
            "{history}"
        );
    }
}

async fn num_12_users_are_managed_through_the_api(t: Test) {
    let server = start(&t).await;

    let created = server.create(ada()).await.unwrap();
    assert_eq!(server.get(&created.id).await.unwrap(), created);
    assert_eq!(look_up(&server, "ada@EXAMPLE.com").await.unwrap(), created);

    let moved = User {
        email: "ada@example.org".to_owned(),
        ..created.clone()
    };
    let updated = update(&server, moved, &["email"]).await.unwrap();
    assert_eq!(look_up(&server, "ada@example.org").await.unwrap(), updated);
    assert_eq!(
        look_up(&server, "ada@example.com").await.unwrap_err().code(),
        Code::NotFound
    );

    delete(&server, &created.id).await;
    assert_eq!(server.get(&created.id).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(
        t.sql_value("SELECT count(*) AS value FROM users")
            .await
            .as_deref(),
        Some("0")
    );
}

async fn num_12_users_are_managed_through_the_repository(t: Test) {
    let users = repository(&t, CONFIGURATION).await;
    let email = Email::parse("Ada@example.com").unwrap();
    assert_eq!(users.get_by_email(&email).await.unwrap(), None);

    let created = users.create(new_named("ada@example.com")).await.unwrap();
    let (id, now) = (created.id, SystemClock.now());
    assert_eq!(users.get_by_id(id).await.unwrap(), created);
    assert_eq!(users.get_by_email(&email).await.unwrap(), Some(created));

    let full_name = Some(Some(FullName::parse("Ada Lovelace").unwrap()));
    let change = UserChange::UpdateProfile(ProfileUpdate {
        full_name,
        ..ProfileUpdate::default()
    });
    let changed = users
        .change(without_request_id(UpdateUser {
            id,
            change,
            etag: None,
            now,
        }))
        .await
        .unwrap();
    assert_eq!(users.get_by_id(id).await.unwrap(), changed);
    assert_eq!(changed.profile.full_name.unwrap().as_str(), "Ada Lovelace");

    users
        .delete(without_request_id(DeleteUser { id, etag: None, now }))
        .await
        .unwrap();
    assert_eq!(users.get_by_email(&email).await.unwrap(), None);
    let error = users.get_by_id(id).await.unwrap_err();
    assert_eq!(refusal(&error), Some(Refusal::UserNotFound(id)));
}

async fn num_13_ids_cannot_be_guessed(t: Test) {
    let server = start(&t).await;
    let mut ids = Vec::new();
    for number in 0..20 {
        let user = server
            .create(ada().email(&format!("{number}@example.com")))
            .await
            .unwrap();
        ids.push(Uuid::parse_str(&user.id).unwrap());
    }

    assert!(ids.iter().all(|id| id.get_version_num() == 7), "{ids:?}");
    // The last 62 bits are random: all different, and in no order.
    let random: Vec<u64> = ids.iter().map(|id| id.as_u64_pair().1).collect();
    assert_eq!(random.iter().collect::<BTreeSet<_>>().len(), ids.len());
    assert!(!random.is_sorted(), "{ids:?}");

    // A caller cannot bring an id that tells when and where it was made, or that counts.
    for id in [
        "6fa459ea-ee8a-11ec-8ea0-0242ac120002",
        "00000000-0000-0000-0000-000000000001",
    ] {
        let failure = server.create(ada().user_id(id)).await.unwrap_err();
        assert_eq!(
            failure.fields(),
            [("user_id".to_owned(), "INVALID_FORMAT".to_owned())],
            "{id}"
        );
    }
}

fn date(year: i32, month: i32, day: i32) -> Date {
    Date { year, month, day }
}

fn date_of(day: chrono::NaiveDate) -> Date {
    use chrono::Datelike;
    date(day.year(), day.month() as i32, day.day() as i32)
}

fn time(timestamp: Option<&Timestamp>) -> DateTime<Utc> {
    let timestamp = timestamp.unwrap();
    DateTime::from_timestamp(timestamp.seconds, timestamp.nanos as u32).unwrap()
}
