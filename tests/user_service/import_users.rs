//! `ImportUsers`.

use identity::proto::google::r#type::Date;
use identity::proto::identity::v1::{
    AuthProvider, ImportOutcome, ImportUserResult, ImportUsersRequest, ImportedUser, UserEventType,
};
use prost_types::Timestamp;
use tonic::Code;

use super::calls::{NOBODY, assert_failed, assert_refused, lookup_email};
use crate::security_service::calls::history_types;
use crate::support::{Behaviour, Clients, Failure, Test, behaviours, new_user};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        users_are_as_the_other_system_had_them,
        each_user_has_a_result_of_its_own,
        what_is_wrong_with_a_user_is_said_at_once,
        the_same_users_again_are_left_alone,
        a_request_id_makes_a_retry_safe,
        parallel_imports_of_the_same_users_create_each_once,
        one_to_a_thousand_users,
        an_import_may_be_larger_than_other_calls,
        an_import_is_on_record,
    ]
}

const REQUEST_ID: &str = "4f6b1f4e-8c1a-4d4f-9a52-0b8f0c1d2e3f";

/// A user to import.
pub fn with_email(email: &str) -> ImportedUser {
    ImportedUser {
        email: email.to_owned(),
        ..ImportedUser::default()
    }
}

/// Imports users.
pub async fn import(
    clients: &Clients,
    users: Vec<ImportedUser>,
    request_id: &str,
) -> Result<Vec<ImportUserResult>, Failure> {
    let request = ImportUsersRequest {
        users,
        request_id: request_id.to_owned(),
    };
    let response = clients.users().import_users(request).await?;
    Ok(response.into_inner().results)
}

/// Imports users that are all new, and returns their ids.
pub async fn import_new(clients: &Clients, users: Vec<ImportedUser>) -> Vec<String> {
    let results = import(clients, users, "").await.unwrap();
    let created = |result: ImportUserResult| {
        assert_eq!(result.outcome(), ImportOutcome::Created, "{result:?}");
        result.user_id
    };
    results.into_iter().map(created).collect()
}

fn outcomes(results: &[ImportUserResult]) -> Vec<ImportOutcome> {
    results.iter().map(ImportUserResult::outcome).collect()
}

/// Returns the fields of a refused user, each with its reason.
fn fields(result: &ImportUserResult) -> Vec<(&str, &str)> {
    assert_eq!(result.outcome(), ImportOutcome::Refused, "{result:?}");
    assert_eq!(result.user_id, "");
    let violations = result.violations.iter();
    violations
        .map(|violation| {
            assert!(!violation.description.is_empty());
            let reason = violation.reason().as_str_name();
            (
                violation.field.as_str(),
                reason.strip_prefix("ERROR_REASON_").unwrap(),
            )
        })
        .collect()
}

async fn users_are_as_the_other_system_had_them(t: Test) {
    let server = t.start().await;
    let created = Timestamp {
        seconds: 1_000_000_000,
        nanos: 123_456_000,
    };
    let blocked = ImportedUser {
        user_id: NOBODY.to_owned(),
        email: "Ada@Example.com".to_owned(),
        email_verified: true,
        username: r"\salon\enchantress".to_owned(),
        full_name: "Ada Lovelace".to_owned(),
        birth_date: Some(Date {
            year: 1815,
            month: 12,
            day: 10,
        }),
        is_active: Some(false),
        is_blocked: true,
        block_reason: "owes the turf a fortune".to_owned(),
        create_time: Some(created),
        ..ImportedUser::default()
    };

    let ids = import_new(&server, vec![blocked.clone(), with_email("bob@example.com")]).await;

    let ada = server.get(&ids[0]).await.unwrap();
    assert_eq!(ada.id, NOBODY);
    assert_eq!(
        (&ada.email, &ada.username, &ada.full_name, &ada.birth_date),
        (
            &blocked.email,
            &blocked.username,
            &blocked.full_name,
            &blocked.birth_date
        )
    );
    assert!(ada.email_verified && !ada.is_active && ada.is_blocked && !ada.password_set);
    assert_eq!(ada.block_reason, blocked.block_reason);
    assert_eq!(ada.create_time, Some(created));
    assert_eq!(ada.auth_provider(), AuthProvider::Unspecified);
    let bob = server.get(&ids[1]).await.unwrap();
    assert!(bob.is_active && !bob.is_blocked && !bob.email_verified);
    assert_eq!(bob.create_time, bob.update_time);
}

async fn each_user_has_a_result_of_its_own(t: Test) {
    let server = t.start().await;
    let taken = new_user().email("taken@example.com").username(r"\d\taken");
    let taken = server.create(taken).await.unwrap();
    let mut id_taken = with_email("new@example.com");
    id_taken.user_id.clone_from(&taken.id);
    let mut username_taken = with_email("other@example.com");
    username_taken.username = r"\D\Taken".to_owned();
    let users = vec![
        with_email("first@example.com"),
        with_email("no email"),
        with_email("FIRST@example.com"),
        with_email("Taken@example.com"),
        username_taken,
        id_taken,
        with_email("last@example.com"),
    ];

    let results = import(&server, users, "").await.unwrap();

    assert_eq!(results[0].outcome(), ImportOutcome::Created);
    assert_eq!(fields(&results[1]), [("email", "INVALID_FORMAT")]);
    assert_eq!(fields(&results[2]), [("email", "EMAIL_TAKEN")]);
    assert_eq!(fields(&results[3]), [("email", "EMAIL_TAKEN")]);
    assert_eq!(fields(&results[4]), [("username", "USERNAME_TAKEN")]);
    assert_eq!(fields(&results[5]), [("user_id", "USER_ID_TAKEN")]);
    assert_eq!(results[6].outcome(), ImportOutcome::Created);
    assert_eq!(
        lookup_email(&server, "first@example.com").await.unwrap().id,
        results[0].user_id
    );
    assert_eq!(server.get(&taken.id).await.unwrap(), taken);
    assert_eq!(
        t.sql_value("SELECT CAST(count(*) AS TEXT) AS value FROM users")
            .await
            .unwrap(),
        "3"
    );
}

async fn what_is_wrong_with_a_user_is_said_at_once(t: Test) {
    let server = t
        .start_with(&[("IDENTITY_REQUIRED_PROFILE_FIELDS", "full_name,birth_date")])
        .await;
    let wrong = ImportedUser {
        user_id: "6fa459ea-ee8a-11ec-8ea0-0242ac120002".to_owned(),
        email: "x".to_owned(),
        username: "no backslash".to_owned(),
        block_reason: "not blocked".to_owned(),
        create_time: Some(Timestamp {
            seconds: 250_000_000_000,
            nanos: 0,
        }),
        password_hash: "$2b$20$YoeBT7NMrjFixuEzxP1ciuAbAdAU8uSTJoibJCvnvGLDnOvLzdMRi".to_owned(),
        ..ImportedUser::default()
    };
    let nameless = ImportedUser {
        full_name: "Nobody".to_owned(),
        birth_date: Some(Date {
            year: 2023,
            month: 2,
            day: 29,
        }),
        email_verified: true,
        ..ImportedUser::default()
    };

    let results = import(&server, vec![wrong, nameless], "").await.unwrap();

    assert_eq!(
        fields(&results[0]),
        [
            ("user_id", "INVALID_FORMAT"),
            ("email", "INVALID_FORMAT"),
            ("username", "INVALID_FORMAT"),
            ("password_hash", "VALUE_OUT_OF_RANGE"),
            ("full_name", "FIELD_REQUIRED"),
            ("birth_date", "FIELD_REQUIRED"),
            ("block_reason", "INVALID_FORMAT"),
            ("create_time", "INVALID_FORMAT"),
        ]
    );
    assert_eq!(
        fields(&results[1]),
        [
            ("birth_date", "INVALID_FORMAT"),
            ("email", "FIELD_REQUIRED"),
            ("email_verified", "INVALID_FORMAT"),
        ]
    );
    assert_eq!(
        t.sql_value("SELECT CAST(count(*) AS TEXT) AS value FROM users")
            .await
            .unwrap(),
        "0"
    );
}

async fn the_same_users_again_are_left_alone(t: Test) {
    let server = t.start().await;
    let mut ada = with_email("ada@example.com");
    ada.user_id = NOBODY.to_owned();
    import_new(&server, vec![ada.clone()]).await;
    let before = server.get(NOBODY).await.unwrap();

    ada.full_name = "Ada Lovelace".to_owned();
    let users = vec![ada.clone(), ada, with_email("bob@example.com")];
    let results = import(&server, users, "").await.unwrap();

    assert_eq!(
        outcomes(&results),
        [
            ImportOutcome::Unchanged,
            ImportOutcome::Unchanged,
            ImportOutcome::Created
        ]
    );
    assert_eq!(results[0].user_id, NOBODY);
    assert_eq!(server.get(NOBODY).await.unwrap(), before);
}

async fn a_request_id_makes_a_retry_safe(t: Test) {
    let server = t.start().await;
    let users = || {
        vec![
            with_email("ada@example.com"),
            with_email("x"),
            with_email("bob@example.com"),
        ]
    };

    let first = import(&server, users(), REQUEST_ID).await.unwrap();
    let again = import(&server, users(), REQUEST_ID).await.unwrap();

    assert_eq!(first[0].outcome(), ImportOutcome::Created);
    assert_eq!(again[0].outcome(), ImportOutcome::Unchanged);
    let ids = |results: &[ImportUserResult]| -> Vec<String> {
        results.iter().map(|result| result.user_id.clone()).collect()
    };
    assert_eq!(ids(&first), ids(&again));
    assert_eq!(fields(&again[1]), [("email", "INVALID_FORMAT")]);
    let other = import(&server, vec![with_email("eve@example.com")], REQUEST_ID).await;
    assert_failed(other, Code::InvalidArgument, "REQUEST_ID_REUSED");
    assert_eq!(
        t.sql_value("SELECT CAST(count(*) AS TEXT) AS value FROM users")
            .await
            .unwrap(),
        "2"
    );
    // An id that can be guessed from the request would let somebody else take it first.
    let ids = ids(&first);
    let id = uuid::Uuid::parse_str(&ids[0]).unwrap();
    assert_eq!(id.get_version_num(), 4);
}

async fn parallel_imports_of_the_same_users_create_each_once(t: Test) {
    let server = t.start().await;
    let users = || -> Vec<ImportedUser> {
        (0..50)
            .map(|number| with_email(&format!("{number}@example.com")))
            .collect()
    };
    let mut reversed = users();
    reversed.reverse();

    let (first, second) = tokio::join!(import(&server, users(), ""), import(&server, reversed, ""));

    let created = [first.unwrap(), second.unwrap()]
        .concat()
        .iter()
        .filter(|result| result.outcome() == ImportOutcome::Created)
        .count();
    assert_eq!(created, 50);
    assert_eq!(
        t.sql_value("SELECT CAST(count(*) AS TEXT) AS value FROM users")
            .await
            .unwrap(),
        "50"
    );
}

async fn one_to_a_thousand_users(t: Test) {
    let server = t.start().await;
    let users = |count: usize| -> Vec<ImportedUser> {
        (0..count)
            .map(|number| with_email(&format!("{number}@example.com")))
            .collect()
    };
    assert_refused(import(&server, users(0), "").await, "users", "FIELD_REQUIRED");
    assert_refused(
        import(&server, users(1001), "").await,
        "users",
        "VALUE_OUT_OF_RANGE",
    );

    import_new(&server, users(1000)).await;

    assert_eq!(
        t.sql_value("SELECT CAST(count(*) AS TEXT) AS value FROM users")
            .await
            .unwrap(),
        "1000"
    );
}

async fn an_import_may_be_larger_than_other_calls(t: Test) {
    let server = t.start().await;
    let long = |number: usize| ImportedUser {
        full_name: "n".repeat(4_000),
        ..with_email(&format!("{number}@example.com"))
    };
    // Every name is too long, but the call arrives.
    let results = import(&server, (0..1000).map(long).collect(), "").await.unwrap();
    assert_eq!(fields(&results[999]), [("full_name", "VALUE_OUT_OF_RANGE")]);

    let too_large = |number| ImportedUser {
        full_name: "n".repeat(5_000),
        ..long(number)
    };
    let failure = import(&server, (0..1000).map(too_large).collect(), "").await;
    assert_failed(failure, Code::ResourceExhausted, "MESSAGE_TOO_LARGE");

    let create = new_user()
        .email("ada@example.com")
        .full_name(&"n".repeat(2 * 1024 * 1024));
    assert_failed(
        server.create(create).await,
        Code::ResourceExhausted,
        "MESSAGE_TOO_LARGE",
    );
}

async fn an_import_is_on_record(t: Test) {
    let server = t.start().await;

    let ids = import_new(
        &server,
        vec![with_email("ada@example.com"), with_email("bob@example.com")],
    )
    .await;

    for id in ids {
        assert_eq!(history_types(&server, &id).await, [UserEventType::UserCreated]);
    }
}
