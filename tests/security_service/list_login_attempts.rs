//! `ListLoginAttempts`: what is recorded of an attempt, and how the list is narrowed and read in pages.

use chrono::TimeDelta;
use identity::proto::identity::v1::{
    Client, ListLoginAttemptsRequest, LoginAttempt, LoginAttemptFilter, LoginFailureReason,
    SignInMethod, SignInWithPasswordRequest,
};
use tonic::Code;

use super::calls::{attempts, page};
use crate::credential_service::calls::verify_password;
use crate::support::{Behaviour, Clients, PASSWORD, Test, behaviours};
use crate::user_service::calls::{Change, Method, assert_refused, count};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        an_attempt_is_recorded_with_who_where_and_why,
        every_reason_is_recorded,
        a_text_that_is_no_login_name_is_recorded_as_a_digest,
        attempts_that_had_to_wait_are_not_recorded,
        filters_narrow_the_list_together,
        pages_hold_every_attempt_once,
        g01_a_page_token_belongs_to_its_list_and_filter,
        g02_page_sizes_are_bounded,
        a_bad_filter_is_refused,
        s07_attempts_of_a_deleted_user_tell_nothing,
    ]
}

const EMAIL: &str = "Ada@example.com";
const WRONG: &str = "a wrong password";

async fn all(clients: &Clients) -> Vec<LoginAttempt> {
    attempts(clients, LoginAttemptFilter::default()).await.unwrap()
}

async fn an_attempt_is_recorded_with_who_where_and_why(t: Test) {
    let server = t.start().await;
    let user = server.create_with_password(EMAIL).await;
    let request = |password: &str| SignInWithPasswordRequest {
        identifier: "ADA@example.com".to_owned(),
        password: password.to_owned(),
        client: Some(Client {
            ip_address: "2001:DB8::0:1".to_owned(),
            user_agent: "A browser".to_owned(),
            client_id: "web".to_owned(),
        }),
    };
    server
        .auth()
        .sign_in_with_password(request(WRONG))
        .await
        .unwrap_err();
    server.clock.advance(TimeDelta::seconds(1));
    server
        .auth()
        .sign_in_with_password(request(PASSWORD))
        .await
        .unwrap();

    let [success, failure] = all(&server).await.try_into().expect("two attempts");

    assert!(success.success && !failure.success);
    assert_eq!(success.failure_reason(), LoginFailureReason::Unspecified);
    assert_eq!(failure.failure_reason(), LoginFailureReason::WrongPassword);
    assert!(success.attempt_time.unwrap().seconds > failure.attempt_time.unwrap().seconds);
    for attempt in [success, failure] {
        assert_eq!(attempt.user_id, user.id);
        assert_eq!(attempt.identifier, "ADA@example.com", "as typed");
        assert_eq!(attempt.ip_address, "2001:db8::1");
        assert_eq!(attempt.user_agent, "A browser");
        assert_eq!(attempt.method(), SignInMethod::Password);
        assert_eq!(attempt.id.as_bytes()[14], b'7');
    }
}

async fn every_reason_is_recorded(t: Test) {
    let server = t.start().await;
    server.create_user("without@example.com").await;
    let blocked = server.create_with_password("blocked@example.com").await;
    Method::Block
        .call(&server, Change::of(&blocked.id))
        .await
        .unwrap();
    let inactive = server.create_with_password("inactive@example.com").await;
    Method::Deactivate
        .call(&server, Change::of(&inactive.id))
        .await
        .unwrap();
    let cases = [
        ("nobody@example.com", PASSWORD, LoginFailureReason::UnknownUser),
        ("without@example.com", PASSWORD, LoginFailureReason::NoPassword),
        ("blocked@example.com", WRONG, LoginFailureReason::WrongPassword),
        ("blocked@example.com", PASSWORD, LoginFailureReason::UserBlocked),
        ("inactive@example.com", PASSWORD, LoginFailureReason::UserInactive),
    ];
    for (name, password, reason) in cases {
        server.clock.advance(TimeDelta::seconds(1));
        server.sign_in(name, password).await.expect_err(name);
        let newest = all(&server).await.swap_remove(0);
        assert_eq!(newest.failure_reason(), reason, "{name}");
        assert_eq!(newest.identifier, name);
        assert_eq!(
            newest.user_id.is_empty(),
            reason == LoginFailureReason::UnknownUser
        );
    }

    // A password that is asked for again is an attempt of the user, without a name.
    server.clock.advance(TimeDelta::seconds(1));
    assert!(!verify_password(&server, &blocked.id, WRONG).await.unwrap());
    let newest = all(&server).await.swap_remove(0);
    assert_eq!((newest.identifier.as_str(), newest.user_id), ("", blocked.id));
}

async fn a_text_that_is_no_login_name_is_recorded_as_a_digest(t: Test) {
    let server = t.start().await;
    server.create_with_password(EMAIL).await;
    for typed in [
        PASSWORD,
        "hunter2",
        "ada@example",
        "\\only",
        "ada@example.com\u{a0}",
    ] {
        server.clock.advance(TimeDelta::seconds(1));
        server.sign_in(typed, WRONG).await.expect_err(typed);

        let newest = all(&server).await.swap_remove(0);
        let digest = newest.identifier.strip_prefix("sha256:").expect(typed);
        assert_eq!(digest.len(), 64);
        assert!(digest.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert!(!format!("{newest:?}").contains(typed));
        assert_eq!(newest.user_id, "");

        // The list can be narrowed to it all the same.
        let filter = LoginAttemptFilter {
            identifier: newest.identifier.clone(),
            ..LoginAttemptFilter::default()
        };
        assert_eq!(attempts(&server, filter).await.unwrap(), [newest]);
    }
    let query = "SELECT identifier AS value FROM login_attempts";
    for stored in t.sql_values(query).await {
        assert!(stored.unwrap().starts_with("sha256:"));
    }
}

async fn attempts_that_had_to_wait_are_not_recorded(t: Test) {
    let server = t.start().await;
    server.create_with_password(EMAIL).await;
    for _ in 0..12 {
        server.sign_in(EMAIL, WRONG).await.unwrap_err();
    }
    assert_eq!(all(&server).await.len(), 5);
}

async fn filters_narrow_the_list_together(t: Test) {
    let server = t.start().await;
    let ada = server.create_with_password(EMAIL).await;
    let bob = server.create_with_password("bob@example.com").await;
    for (name, password) in [
        (EMAIL, WRONG),
        ("ada@example.com", PASSWORD),
        ("bob@example.com", WRONG),
        ("bob@example.com", PASSWORD),
        ("nobody@example.com", WRONG),
    ] {
        server.clock.advance(TimeDelta::minutes(1));
        let _ = server.sign_in(name, password).await;
    }
    let everything = all(&server).await;
    assert_eq!(everything.len(), 5);
    let none = LoginAttemptFilter::default;
    let middle = everything[2].attempt_time;
    for (filter, expected) in [
        (none(), &everything[..]),
        (
            LoginAttemptFilter {
                user_id: ada.id.clone(),
                ..none()
            },
            &everything[3..],
        ),
        (
            LoginAttemptFilter {
                user_id: bob.id.to_uppercase(),
                ..none()
            },
            &everything[1..3],
        ),
        (
            LoginAttemptFilter {
                identifier: EMAIL.to_owned(),
                ..none()
            },
            &everything[4..],
        ),
        (
            LoginAttemptFilter {
                identifier: "%".to_owned(),
                ..none()
            },
            &[],
        ),
        (
            LoginAttemptFilter {
                user_id: bob.id.clone(),
                success: Some(false),
                ..none()
            },
            &everything[2..3],
        ),
        (
            LoginAttemptFilter {
                attempted_from: middle,
                ..none()
            },
            &everything[..3],
        ),
        (
            LoginAttemptFilter {
                attempted_before: middle,
                ..none()
            },
            &everything[3..],
        ),
        (
            LoginAttemptFilter {
                attempted_from: middle,
                attempted_before: middle,
                ..none()
            },
            &[],
        ),
    ] {
        let found = attempts(&server, filter.clone()).await.unwrap();
        assert_eq!(found, expected, "{filter:?}");
    }
    let successes = LoginAttemptFilter {
        success: Some(true),
        ..none()
    };
    let found = attempts(&server, successes).await.unwrap();
    assert_eq!(found, [everything[1].clone(), everything[3].clone()]);
}

/// Fails to sign in under many names.
async fn fail(clients: &Clients, times: usize) {
    for number in 0..times {
        let name = format!("nobody{number}@example.com");
        clients.sign_in(&name, WRONG).await.unwrap_err();
    }
}

async fn pages_hold_every_attempt_once(t: Test) {
    let server = t.start().await;
    fail(&server, 23).await;
    // Those of one instant are told apart by their ids.
    t.sql("UPDATE login_attempts SET attempted_at = (SELECT max(attempted_at) FROM login_attempts)")
        .await
        .unwrap();
    let everything = all(&server).await;
    assert_eq!(everything.len(), 23);

    let mut found = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListLoginAttemptsRequest {
            filter: None,
            page_size: 5,
            page_token,
        };
        let next = page(&server, request).await.unwrap();
        assert!(next.login_attempts.len() <= 5);
        found.extend(next.login_attempts);
        // Newer attempts do not move those that are still to come.
        server.sign_in("new@example.com", WRONG).await.unwrap_err();
        if next.next_page_token.is_empty() {
            break;
        }
        page_token = next.next_page_token;
    }
    assert_eq!(found, everything);
}

async fn g01_a_page_token_belongs_to_its_list_and_filter(t: Test) {
    let server = t.start().await;
    fail(&server, 5).await;
    let request = |success: Option<bool>, page_token: &str| ListLoginAttemptsRequest {
        filter: Some(LoginAttemptFilter {
            success,
            ..LoginAttemptFilter::default()
        }),
        page_size: 2,
        page_token: page_token.to_owned(),
    };
    let token = page(&server, request(Some(false), ""))
        .await
        .unwrap()
        .next_page_token;
    page(&server, request(Some(false), &token)).await.unwrap();
    let flipped = token.replacen(&token[10..11], if &token[10..11] == "A" { "B" } else { "A" }, 1);
    for (success, wrong) in [
        (None, token.as_str()),
        (Some(true), &token),
        (Some(false), &token[1..]),
        (Some(false), &flipped),
        (Some(false), "' OR 1=1"),
    ] {
        let outcome = page(&server, request(success, wrong)).await;
        assert_refused(outcome, "page_token", "INVALID_PAGE_TOKEN");
    }
    let users = server
        .users()
        .list_users(identity::proto::identity::v1::ListUsersRequest {
            page_token: token.clone(),
            ..Default::default()
        })
        .await
        .map_err(crate::support::Failure::from);
    assert_refused(users, "page_token", "INVALID_PAGE_TOKEN");

    server.clock.advance(TimeDelta::hours(25));
    let outcome = page(&server, request(Some(false), &token)).await;
    assert_refused(outcome, "page_token", "INVALID_PAGE_TOKEN");
}

async fn g02_page_sizes_are_bounded(t: Test) {
    let server = t.start().await;
    fail(&server, 1).await;
    let copies = (1..=120)
        .map(|number| format!("('nobody{number}@x.io')"))
        .collect::<Vec<_>>()
        .join(", ");
    let id = match t.backend {
        crate::support::Backend::Sqlite => "randomblob(16)",
        crate::support::Backend::Postgres => "gen_random_uuid()",
    };
    t.sql(&format!(
        "WITH names (name) AS (VALUES {copies})
         INSERT INTO login_attempts (id, identifier, method, success, failure_reason, attempted_at)
         SELECT {id}, name, method, success, failure_reason, attempted_at FROM names, login_attempts"
    ))
    .await
    .unwrap();
    assert_eq!(count(&t, "login_attempts").await, "121");
    for (page_size, expected) in [(0, 50), (1, 1), (100, 100), (101, 100), (i32::MAX, 100)] {
        let request = ListLoginAttemptsRequest {
            page_size,
            ..ListLoginAttemptsRequest::default()
        };
        let found = page(&server, request).await.unwrap();
        assert_eq!(found.login_attempts.len(), expected, "{page_size}");
    }
    let negative = ListLoginAttemptsRequest {
        page_size: -1,
        ..ListLoginAttemptsRequest::default()
    };
    assert_refused(page(&server, negative).await, "page_size", "VALUE_OUT_OF_RANGE");
}

async fn a_bad_filter_is_refused(t: Test) {
    let server = t.start().await;
    let filter = LoginAttemptFilter {
        user_id: "1".to_owned(),
        identifier: "a\0b".to_owned(),
        success: None,
        attempted_from: Some(prost_types::Timestamp {
            seconds: i64::MAX,
            nanos: 0,
        }),
        attempted_before: Some(prost_types::Timestamp {
            seconds: 0,
            nanos: -1,
        }),
    };
    let failure = attempts(&server, filter).await.unwrap_err();
    assert_eq!(failure.code(), Code::InvalidArgument);
    let fields: Vec<String> = failure.fields().into_iter().map(|(field, _)| field).collect();
    assert_eq!(
        fields,
        [
            "filter.user_id",
            "filter.identifier",
            "filter.attempted_from",
            "filter.attempted_before"
        ]
    );
}

async fn s07_attempts_of_a_deleted_user_tell_nothing(t: Test) {
    let server = t.start().await;
    let user = server.create_with_password(EMAIL).await;
    server.sign_in_from("192.0.2.1", EMAIL, WRONG).await.unwrap_err();
    server.sign_in_from("192.0.2.1", EMAIL, PASSWORD).await.unwrap();
    Method::Delete.call(&server, Change::of(&user.id)).await.unwrap();

    let left = all(&server).await;

    assert_eq!(left.len(), 2);
    for attempt in left {
        assert_eq!(
            (attempt.identifier, attempt.ip_address, attempt.user_agent),
            (String::new(), String::new(), String::new())
        );
    }
}
