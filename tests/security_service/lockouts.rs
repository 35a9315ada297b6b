//! `GetLockout`, `ClearLockout`: who has to wait, and until when.

use chrono::TimeDelta;
use identity::proto::identity::v1::{ClearLockoutRequest, GetLockoutRequest, Lockout};
use tonic::Code;

use super::calls::{clear_name, clear_user, lockout_of_name, lockout_of_user};
use crate::support::{Behaviour, Failure, PASSWORD, Test, behaviours, new_user};
use crate::user_service::calls::{Change, Method, NOBODY, assert_failed, assert_refused};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        a_lockout_tells_failures_and_times,
        a_user_and_the_names_of_the_user_have_one_lockout,
        a_name_that_is_nobodys_has_a_lockout_too,
        clearing_forgets_failures_but_not_known_networks,
        failures_do_not_pass_from_a_deleted_user_to_the_next,
        nobody_has_no_lockout_by_id,
        a_subject_is_needed,
        the_table_tells_neither_names_nor_addresses,
    ]
}

const EMAIL: &str = "ada@example.com";
const WRONG: &str = "a wrong password";

async fn a_lockout_tells_failures_and_times(t: Test) {
    let server = t.start().await;
    let user = server.create_with_password(EMAIL).await;
    assert_eq!(
        lockout_of_user(&server, &user.id).await.unwrap(),
        Lockout::default()
    );
    for address in ["192.0.2.1", "192.0.2.2"] {
        for _ in 0..5 {
            server.sign_in_from(address, EMAIL, WRONG).await.unwrap_err();
        }
        server.clock.advance(TimeDelta::minutes(5));
    }
    let lockout = lockout_of_user(&server, &user.id).await.unwrap();
    assert_eq!((lockout.failed_attempts, lockout.locked_networks), (10, 2));
    let last = lockout.networks_retry_time.unwrap();

    server.clock.advance(TimeDelta::minutes(6));
    let later = lockout_of_user(&server, &user.id).await.unwrap();
    assert_eq!(
        (later.locked_networks, later.networks_retry_time),
        (1, Some(last))
    );
    server.clock.advance(TimeDelta::minutes(5));
    let after = lockout_of_user(&server, &user.id).await.unwrap();
    assert_eq!((after.locked_networks, after.networks_retry_time), (0, None));
    assert_eq!((after.failed_attempts, after.retry_time), (10, None));
}

async fn a_user_and_the_names_of_the_user_have_one_lockout(t: Test) {
    let server = t.start().await;
    let user = new_user().email(EMAIL).username(r"\home\ada").password(PASSWORD);
    let user = server.create(user).await.unwrap();
    server.sign_in(EMAIL, WRONG).await.unwrap_err();
    server.sign_in(r"\home\ada", WRONG).await.unwrap_err();

    let expected = lockout_of_user(&server, &user.id).await.unwrap();
    assert_eq!(expected.failed_attempts, 2);
    for name in [EMAIL, "ADA@EXAMPLE.COM", r"\HOME\ada"] {
        assert_eq!(lockout_of_name(&server, name).await.unwrap(), expected, "{name}");
    }
    clear_name(&server, r"\Home\Ada").await.unwrap();
    let cleared = lockout_of_user(&server, &user.id).await.unwrap();
    assert_eq!(cleared, Lockout::default());
}

async fn a_name_that_is_nobodys_has_a_lockout_too(t: Test) {
    let server = t.start().await;
    for name in ["nobody@example.com", r"\no\body", "neither of both"] {
        for _ in 0..5 {
            server.sign_in(name, WRONG).await.expect_err(name);
        }
        let lockout = lockout_of_name(&server, name).await.unwrap();
        assert_eq!(
            (lockout.failed_attempts, lockout.locked_networks),
            (5, 1),
            "{name}"
        );
        clear_name(&server, name).await.unwrap();
        let failure = server.sign_in(name, WRONG).await.expect_err(name);
        assert_eq!(failure.reason(), "INVALID_CREDENTIALS", "{name}");
    }
}

async fn clearing_forgets_failures_but_not_known_networks(t: Test) {
    let server = t.start().await;
    let user = server.create_with_password(EMAIL).await;
    server
        .sign_in_from("198.51.100.7", EMAIL, PASSWORD)
        .await
        .unwrap();
    for number in 0..10 {
        let address = format!("203.0.113.{number}");
        server.sign_in_from(&address, EMAIL, WRONG).await.unwrap_err();
    }
    clear_user(&server, &user.id).await.unwrap();
    assert_eq!(
        lockout_of_user(&server, &user.id).await.unwrap(),
        Lockout::default()
    );
    // A failure from home is counted for home only, as before.
    server
        .sign_in_from("198.51.100.7", EMAIL, WRONG)
        .await
        .unwrap_err();
    let lockout = lockout_of_user(&server, &user.id).await.unwrap();
    assert_eq!(lockout.failed_attempts, 0);
}

async fn failures_do_not_pass_from_a_deleted_user_to_the_next(t: Test) {
    let server = t.start().await;
    let first = server.create_with_password(EMAIL).await;
    for _ in 0..5 {
        server.sign_in(EMAIL, WRONG).await.unwrap_err();
    }
    Method::Delete.call(&server, Change::of(&first.id)).await.unwrap();
    let second = server.create_with_password(EMAIL).await;

    let lockout = lockout_of_user(&server, &second.id).await.unwrap();
    assert_eq!(lockout, Lockout::default());
    server.sign_in(EMAIL, PASSWORD).await.unwrap();
}

async fn nobody_has_no_lockout_by_id(t: Test) {
    let server = t.start().await;
    assert_failed(
        lockout_of_user(&server, NOBODY).await,
        Code::NotFound,
        "USER_NOT_FOUND",
    );
    assert_failed(
        clear_user(&server, NOBODY).await,
        Code::NotFound,
        "USER_NOT_FOUND",
    );
}

async fn a_subject_is_needed(t: Test) {
    let server = t.start().await;
    let get = GetLockoutRequest { subject: None };
    let got = server.security().get_lockout(get).await.map_err(Failure::from);
    assert_refused(got, "subject", "FIELD_REQUIRED");
    let clear = ClearLockoutRequest { subject: None };
    let cleared = server
        .security()
        .clear_lockout(clear)
        .await
        .map_err(Failure::from);
    assert_refused(cleared, "subject", "FIELD_REQUIRED");
    for outcome in [
        lockout_of_name(&server, "").await,
        lockout_of_name(&server, "a\0b").await,
        lockout_of_name(&server, &"x".repeat(1025)).await,
        lockout_of_user(&server, "1").await,
    ] {
        assert_eq!(outcome.unwrap_err().code(), Code::InvalidArgument);
    }
}

async fn the_table_tells_neither_names_nor_addresses(t: Test) {
    let server = t.start().await;
    server.create_with_password(EMAIL).await;
    server.sign_in_from("192.0.2.1", EMAIL, WRONG).await.unwrap_err();
    server
        .sign_in_from("192.0.2.1", "bob@example.com", WRONG)
        .await
        .unwrap_err();

    // One network is another digest for another subject, so that rows cannot be told to belong together.
    let networks = t
        .sql_values("SELECT count(DISTINCT network) AS value FROM lockouts WHERE length(network) > 0")
        .await;
    assert_eq!(networks, [Some("2".to_owned())]);
    let lengths = t
        .sql_values("SELECT DISTINCT length(subject) AS value FROM lockouts")
        .await;
    assert_eq!(lengths, [Some("32".to_owned())]);
}
