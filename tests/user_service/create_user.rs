//! `CreateUser`. Names, passwords and request ids have modules of their own.

use chrono::{Datelike, NaiveDate, NaiveTime, TimeDelta};
use identity::clock::Clock;
use identity::proto::identity::v1::{AuthProvider, CreateUserRequest, User};
use prost_types::Timestamp;
use tonic::Code;
use uuid::Uuid;

use super::calls::{NOBODY, PASSWORD, assert_failed, assert_refused, count, kind, lookup_email};
use crate::support::{Backend, Behaviour, Test, behaviours, new_user};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        created_user_is_returned_and_can_be_fetched,
        a_username_alone_is_enough,
        output_only_fields_are_ignored,
        num_03_email_is_unique,
        username_and_id_are_unique,
        failed_create_leaves_no_user_and_no_request,
        v15_every_bad_field_is_reported_at_once,
        v12_a_full_name_has_at_most_255_characters,
        v17_a_chosen_id_is_a_uuid_of_version_4_or_7,
        v18_birth_dates_are_dates_of_the_calendar_up_to_today,
        v18_dates_and_times_are_the_same_in_every_time_zone_of_the_database,
        an_email_or_a_username_is_required,
        the_deployment_can_require_further_fields,
    ]
}

async fn created_user_is_returned_and_can_be_fetched(t: Test) {
    let server = t.start().await;

    let created = server
        .create(
            new_user()
                .user_id(NOBODY)
                .email("Ada@example.com")
                .username(r"\corp\ada")
                .full_name("Ada Lovelace")
                .birth_date(1815, 12, 10)
                .password(PASSWORD),
        )
        .await
        .unwrap();

    assert_eq!(created.id, NOBODY);
    assert_eq!(created.email, "Ada@example.com");
    assert_eq!(created.username, r"\corp\ada");
    assert_eq!(created.full_name, "Ada Lovelace");
    assert_eq!(
        created.birth_date.map(|date| (date.year, date.month, date.day)),
        Some((1815, 12, 10))
    );
    assert!(created.password_set && created.is_active && !created.is_blocked);
    assert!(!created.email_verified);
    assert_eq!(created.auth_provider(), AuthProvider::Password);
    assert_eq!(server.get(NOBODY).await.unwrap(), created);
}

async fn a_username_alone_is_enough(t: Test) {
    let server = t.start().await;
    let before = t.clock.now();

    let user = server.create(new_user().username(r"\corp\ada")).await.unwrap();

    let id: Uuid = user.id.parse().unwrap();
    assert_eq!(id.get_version_num(), 7);
    assert_eq!(id.to_string(), user.id, "lower case with hyphens");
    let expected = User {
        id: user.id.clone(),
        username: r"\corp\ada".to_owned(),
        is_active: true,
        create_time: user.create_time,
        update_time: user.create_time,
        etag: user.etag.clone(),
        ..User::default()
    };
    assert_eq!(user, expected);
    assert!(!user.etag.is_empty());
    let created = user.create_time.unwrap();
    assert!(created.seconds >= before.timestamp() && created.seconds <= t.clock.now().timestamp());
    assert_eq!(created.nanos % 1000, 0, "microseconds");
    assert_eq!(server.get(&user.id).await.unwrap(), user);
}

async fn output_only_fields_are_ignored(t: Test) {
    let server = t.start().await;
    let time = Some(Timestamp { seconds: 1, nanos: 0 });
    let request = CreateUserRequest {
        user: Some(User {
            id: NOBODY.to_owned(),
            email: "ada@example.com".to_owned(),
            email_verified: true,
            auth_provider: AuthProvider::Google.into(),
            is_blocked: true,
            block_reason: "because".to_owned(),
            password_set: true,
            create_time: time,
            update_time: time,
            etag: "mine".to_owned(),
            ..User::default()
        }),
        ..CreateUserRequest::default()
    };

    let response = server.users().create_user(request).await.unwrap();

    let user = response.into_inner().user.unwrap();
    assert!(user.is_active && !user.is_blocked && !user.email_verified && !user.password_set);
    assert_eq!(user.auth_provider(), AuthProvider::Unspecified);
    assert_eq!(user.block_reason, "");
    assert!(user.id != NOBODY && user.etag != "mine" && user.create_time != time);
    assert_eq!(server.get(&user.id).await.unwrap(), user);
}

async fn num_03_email_is_unique(t: Test) {
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
    assert_eq!(count(&t, "users").await, "1");
}

async fn username_and_id_are_unique(t: Test) {
    let server = t.start().await;
    let ada = new_user().user_id(NOBODY).username(r"\corp\ada");
    let ada = server.create(ada).await.unwrap();

    let username = new_user().email("b@x.io").username(r"\CORP\ada");
    assert_failed(
        server.create(username).await,
        Code::AlreadyExists,
        "USERNAME_TAKEN",
    );
    let id = new_user().email("b@x.io").user_id(&NOBODY.to_uppercase());
    let failure = server.create(id).await.unwrap_err();
    assert_eq!(kind(&failure), (Code::AlreadyExists, "USER_ID_TAKEN".to_owned()));
    assert_eq!(
        failure.fields(),
        [("user_id".to_owned(), "USER_ID_TAKEN".to_owned())]
    );
    assert_eq!(server.get(NOBODY).await.unwrap(), ada);
}

async fn failed_create_leaves_no_user_and_no_request(t: Test) {
    let server = t.start().await;
    server.create_user("ada@example.com").await;
    let request_id = "7c9e6679-7425-40de-944b-e07fc1f90ae7";
    let taken = new_user().email("ada@example.com").username(r"\corp\ada");

    let result = server.create(taken.clone().request_id(request_id)).await;
    assert_failed(result, Code::AlreadyExists, "EMAIL_TAKEN");

    assert_eq!(count(&t, "users").await, "1");
    assert_eq!(count(&t, "request_ids").await, "0");
    // So the id can be used for the corrected request.
    let corrected = taken.email("countess@example.com").request_id(request_id);
    server.create(corrected).await.unwrap();
    assert_eq!(count(&t, "request_ids").await, "1");
}

async fn v15_every_bad_field_is_reported_at_once(t: Test) {
    let server = t.start().await;
    let user = new_user()
        .email("ada")
        .username("ada")
        .full_name("\u{7}")
        .birth_date(2023, 2, 29)
        .user_id("1")
        .password("short")
        .request_id("1");

    let failure = server.create(user).await.unwrap_err();

    assert_eq!(
        kind(&failure),
        (Code::InvalidArgument, "INVALID_FIELDS".to_owned())
    );
    let mut fields = failure.fields();
    fields.sort();
    let expected = [
        ("password", "PASSWORD_TOO_WEAK"),
        ("request_id", "INVALID_FORMAT"),
        ("user.birth_date", "INVALID_FORMAT"),
        ("user.email", "INVALID_FORMAT"),
        ("user.full_name", "INVALID_FORMAT"),
        ("user.username", "INVALID_FORMAT"),
        ("user_id", "INVALID_FORMAT"),
    ];
    assert_eq!(
        fields,
        expected.map(|(field, reason)| (field.to_owned(), reason.to_owned()))
    );
    assert_eq!(count(&t, "users").await, "0");
}

async fn v12_a_full_name_has_at_most_255_characters(t: Test) {
    let server = t.start().await;
    // Of four bytes each: characters are counted, also by the databases.
    let longest = "\u{10348}".repeat(255);

    let user = new_user().email("ada@example.com").full_name(&longest);
    assert_eq!(server.create(user).await.unwrap().full_name, longest);

    let too_long = new_user()
        .email("bob@example.com")
        .full_name(&format!("{longest}a"));
    let failure = server.create(too_long).await.unwrap_err();
    assert_eq!(failure.metadata("limit").as_deref(), Some("255"));
    assert_eq!(
        failure.fields(),
        [("user.full_name".to_owned(), "VALUE_OUT_OF_RANGE".to_owned())]
    );
}

async fn v17_a_chosen_id_is_a_uuid_of_version_4_or_7(t: Test) {
    let server = t.start().await;
    for (number, id) in [
        "7C9E6679-7425-40DE-944B-E07FC1F90AE7",
        "0190a6e1-7d5c-7abc-8def-0123456789ab",
    ]
    .into_iter()
    .enumerate()
    {
        let user = new_user().email(&format!("a{number}@x.io")).user_id(id);
        let user = server.create(user).await.unwrap();
        assert_eq!(user.id, id.to_lowercase(), "the canonical form is returned");
        assert_eq!(server.get(id).await.unwrap(), user);
    }

    for id in [
        "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        // Versions 1, 3, 5, 6 and 8, and a variant of Microsoft's.
        "7c9e6679-7425-10de-944b-e07fc1f90ae7",
        "7c9e6679-7425-30de-944b-e07fc1f90ae7",
        "7c9e6679-7425-50de-944b-e07fc1f90ae7",
        "7c9e6679-7425-60de-944b-e07fc1f90ae7",
        "7c9e6679-7425-80de-944b-e07fc1f90ae7",
        "{7c9e6679-7425-40de-944b-e07fc1f90ae7}",
        "urn:uuid:7c9e6679-7425-40de-944b-e07fc1f90ae7",
        "7c9e6679742540de944be07fc1f90ae7",
        "                                    ",
    ] {
        let user = new_user().email("bob@example.com").user_id(id);
        assert_refused(server.create(user).await, "user_id", "INVALID_FORMAT");
    }
}

/// Moves the clock to noon of the present day, so that midnight does not pass during the test.
fn noon(t: &Test) -> NaiveDate {
    let now = t.clock.now().naive_utc();
    let noon = now.date().and_time(NaiveTime::from_hms_opt(12, 0, 0).unwrap());
    t.clock.advance(noon - now);
    now.date()
}

async fn v18_birth_dates_are_dates_of_the_calendar_up_to_today(t: Test) {
    let server = t.start().await;
    let today = noon(&t);
    let parts = |date: NaiveDate| {
        let small = |number: u32| i32::try_from(number).unwrap();
        (date.year(), small(date.month()), small(date.day()))
    };
    let tomorrow = parts(today + TimeDelta::days(1));

    for (number, date) in [
        (1, 1, 1),
        (999, 12, 31),
        // The days that the Gregorian calendar left out, which no database may.
        (1582, 10, 10),
        (1899, 12, 31),
        (1900, 2, 28),
        (1970, 1, 1),
        (2000, 2, 29),
        (2024, 2, 29),
        parts(today),
    ]
    .into_iter()
    .enumerate()
    {
        let user = new_user()
            .email(&format!("a{number}@x.io"))
            .birth_date(date.0, date.1, date.2);
        let user = server.create(user).await.unwrap();
        let stored = server.get(&user.id).await.unwrap().birth_date.unwrap();
        assert_eq!((stored.year, stored.month, stored.day), date);
    }

    for (date, reason) in [
        ((0, 0, 0), "INVALID_FORMAT"),
        ((0, 1, 1), "INVALID_FORMAT"),
        ((1990, 0, 0), "INVALID_FORMAT"),
        ((1990, 5, 0), "INVALID_FORMAT"),
        ((1990, 13, 1), "INVALID_FORMAT"),
        ((1990, 4, 31), "INVALID_FORMAT"),
        ((1900, 2, 29), "INVALID_FORMAT"),
        ((2023, 2, 29), "INVALID_FORMAT"),
        ((-1, 1, 1), "INVALID_FORMAT"),
        ((1990, -1, 1), "INVALID_FORMAT"),
        ((1990, 1, -1), "INVALID_FORMAT"),
        ((10_000, 1, 1), "INVALID_FORMAT"),
        ((i32::MAX, i32::MAX, i32::MAX), "INVALID_FORMAT"),
        ((i32::MIN, i32::MIN, i32::MIN), "INVALID_FORMAT"),
        (tomorrow, "VALUE_OUT_OF_RANGE"),
        ((9999, 12, 31), "VALUE_OUT_OF_RANGE"),
    ] {
        let user = new_user().email("b@x.io").birth_date(date.0, date.1, date.2);
        assert_refused(server.create(user).await, "user.birth_date", reason);
    }
}

/// Sets the time zone that new connections to a PostgreSQL database have; SQLite has none.
async fn set_time_zone(t: &Test, zone: &str) {
    if t.backend == Backend::Postgres {
        t.sql(&format!(
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET timezone TO ''{zone}''', \
             current_database()); END $$"
        ))
        .await
        .unwrap();
    }
}

async fn v18_dates_and_times_are_the_same_in_every_time_zone_of_the_database(t: Test) {
    let mut written: Vec<User> = Vec::new();
    for (number, zone) in ["UTC", "Pacific/Kiritimati", "Etc/GMT+12", "Africa/Monrovia"]
        .into_iter()
        .enumerate()
    {
        set_time_zone(&t, zone).await;
        let server = t.start().await;
        let today = noon(&t);
        let now = t.clock.now();
        for (index, (year, month, day)) in [
            (1, 1, 1),
            (1815, 12, 10),
            (
                today.year(),
                today.month().try_into().unwrap(),
                today.day().try_into().unwrap(),
            ),
        ]
        .into_iter()
        .enumerate()
        {
            let user = new_user()
                .email(&format!("a{number}-{index}@x.io"))
                .birth_date(year, month, day);
            let user = server.create(user).await.unwrap();
            let seconds = user.create_time.unwrap().seconds - now.timestamp();
            assert!((0..3600).contains(&seconds), "{zone}: {seconds}");
            written.push(user);
        }
        for user in &written {
            assert_eq!(&server.get(&user.id).await.unwrap(), user, "{zone}");
        }
        server.shutdown().await;
    }
}

async fn an_email_or_a_username_is_required(t: Test) {
    let server = t.start().await;

    let result = server.create(new_user().full_name("Ada")).await;

    assert_refused(result, "user.email", "FIELD_REQUIRED");
    assert_eq!(count(&t, "users").await, "0");
}

async fn the_deployment_can_require_further_fields(t: Test) {
    let required = "email,full_name,birth_date";
    let server = t
        .start_with(&[("IDENTITY_REQUIRED_PROFILE_FIELDS", required)])
        .await;

    let failure = server
        .create(new_user().username(r"\corp\ada"))
        .await
        .unwrap_err();
    assert_eq!(failure.reason(), "FIELD_REQUIRED");
    let mut fields: Vec<String> = failure.fields().into_iter().map(|(field, _)| field).collect();
    fields.sort();
    assert_eq!(fields, ["user.birth_date", "user.email", "user.full_name"]);

    let complete = new_user()
        .email("ada@example.com")
        .full_name("Ada")
        .birth_date(1815, 12, 10);
    let user = server.create(complete).await.unwrap();
    assert_eq!(lookup_email(&server, "ada@example.com").await.unwrap(), user);
}
