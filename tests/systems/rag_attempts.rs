//! The RAG administration tool: the table and the repository of attempts to sign in, and what is purged.

use std::net::IpAddr;

use chrono::{DateTime, TimeDelta, Utc};
use identity::clock::{Clock, SystemClock};
use identity::domain::{
    Client, ClientId, LoginFailure, NewLoginAttempt, SignInMethod, UserAgent, UserId,
};
use identity::repositories::{LoginAttemptRepository, UserRepository};

use super::calls::delete;
use super::rag::CONFIGURATION;
use super::repository::{database, new_named};
use super::{columns, count, index_names};
use crate::support::{Backend, Behaviour, PASSWORD, Test, behaviours, eventually};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        rag_05_an_attempt_has_the_columns_and_indexes_of_the_model,
        rag_05_an_attempt_keeps_the_name_as_typed_and_why_it_failed,
        rag_05_attempts_outlive_their_user_without_a_trace_of_it,
        rag_08_rag_09_recent_failures_are_counted,
        rag_08_rag_09_old_attempts_are_deleted_after_ninety_days,
        rag_08_any_number_of_old_attempts_is_deleted,
        rag_11_old_tokens_and_attempts_are_purged_by_the_running_service,
        rag_11_old_tokens_and_attempts_are_purged_by_a_command,
    ]
}

async fn rag_05_an_attempt_has_the_columns_and_indexes_of_the_model(t: Test) {
    database(&t, CONFIGURATION)
        .migrate_up(&SystemClock)
        .await
        .unwrap();

    let columns = columns(&t, "login_attempts").await;

    let (id, time, flag, address) = match t.backend {
        Backend::Postgres => ("uuid", "timestamptz", "bool", "inet"),
        Backend::Sqlite => ("blob", "integer", "boolean", "text"),
    };
    for column in [
        format!("user_id {id} YES"),
        "identifier text YES".to_owned(),
        format!("ip_address {address} YES"),
        "user_agent text YES".to_owned(),
        format!("success {flag} NO"),
        "failure_reason text YES".to_owned(),
        format!("attempted_at {time} NO"),
    ] {
        assert!(columns.contains(&column), "{column} in {columns:?}");
    }
    let indexes = index_names(&t, "login_attempts").await;
    for index in [
        "login_attempts_identifier_idx",
        "login_attempts_attempted_at_idx",
        "login_attempts_user_id_idx",
    ] {
        assert!(indexes.contains(&index.to_owned()), "{index} in {indexes:?}");
    }
}

async fn rag_05_an_attempt_keeps_the_name_as_typed_and_why_it_failed(t: Test) {
    let server = t.start_with(CONFIGURATION).await;
    server.create_with_password("ada@example.com").await;
    for (identifier, password) in [
        ("ada@example.com", PASSWORD),
        ("ADA@Example.COM", "not the right password"),
        ("No.Body@Example.com", PASSWORD),
        ("a password in the wrong field", PASSWORD),
    ] {
        // The outcomes are in the rows.
        let _ = server.sign_in_from("192.0.2.7", identifier, password).await;
    }

    let (address, success) = match t.backend {
        Backend::Postgres => ("host(ip_address)", "success::int::text"),
        Backend::Sqlite => ("ip_address", "success"),
    };
    let query = format!(
        "SELECT identifier || ' ' || {address} || ' ' || {success} || ' ' || coalesce(failure_reason, '-')
                || CASE WHEN user_id IS NULL THEN '' ELSE ' ada' END AS value
         FROM login_attempts ORDER BY attempted_at, id"
    );
    let rows: Vec<String> = t.sql_values(&query).await.into_iter().flatten().collect();

    assert_eq!(
        rows[..3],
        [
            "ada@example.com 192.0.2.7 1 - ada",
            "ADA@Example.COM 192.0.2.7 0 wrong_password ada",
            "No.Body@Example.com 192.0.2.7 0 unknown_user",
        ]
    );
    let (digest, rest) = rows[3].split_once(' ').unwrap();
    assert_eq!(
        (digest.len(), rest),
        ("sha256:".len() + 64, "192.0.2.7 0 unknown_user")
    );
    assert!(digest.starts_with("sha256:"), "{digest}");
}

async fn rag_05_attempts_outlive_their_user_without_a_trace_of_it(t: Test) {
    let server = t.start_with(CONFIGURATION).await;
    let (ada, _) = server.signed_in("ada@example.com").await;
    server.signed_in("grace@example.com").await;
    let traces = "SELECT count(*) AS value FROM login_attempts WHERE user_id IS NOT NULL OR identifier IS NOT NULL";
    assert_eq!(t.sql_value(traces).await.as_deref(), Some("2"));

    // By hand the foreign key alone decides.
    t.sql("DELETE FROM users WHERE email = 'grace@example.com'")
        .await
        .unwrap();
    let of_grace = "SELECT count(*) AS value FROM login_attempts
                    WHERE identifier = 'grace@example.com' AND user_id IS NULL";
    assert_eq!(t.sql_value(of_grace).await.as_deref(), Some("1"));

    delete(&server, &ada.id).await;

    assert_eq!(count(&t, "login_attempts").await, "2");
    assert_eq!(
        t.sql_value(traces).await.as_deref(),
        Some("1"),
        "what is left is of Grace"
    );
}

/// The repository of a database that is migrated and has two users.
async fn repository(t: &Test) -> (LoginAttemptRepository, [UserId; 2]) {
    let database = database(t, CONFIGURATION);
    database.migrate_up(&SystemClock).await.unwrap();
    let users = UserRepository::new(database.clone());
    let ada = users.create(new_named("ada@example.com")).await.unwrap();
    let grace = users.create(new_named("grace@example.com")).await.unwrap();
    (LoginAttemptRepository::new(database), [ada.id, grace.id])
}

fn attempt(
    user_id: Option<UserId>,
    failure: Option<LoginFailure>,
    attempted_at: DateTime<Utc>,
) -> NewLoginAttempt {
    NewLoginAttempt {
        user_id,
        identifier: Some("ada@example.com".to_owned()),
        client: Client {
            ip_address: Some(IpAddr::from([192, 0, 2, 7])),
            user_agent: Some(UserAgent::parse("Browser/1.0").unwrap()),
            client_id: ClientId::default(),
        },
        method: SignInMethod::Password,
        failure,
        attempted_at,
    }
}

const TICK: TimeDelta = TimeDelta::microseconds(1);

async fn rag_08_rag_09_recent_failures_are_counted(t: Test) {
    assert_eq!(LoginAttemptRepository::RECENT_MINUTES, 15);
    let (attempts, [ada, grace]) = repository(&t).await;
    let now = SystemClock.now();
    let wrong = Some(LoginFailure::WrongPassword);
    let window = TimeDelta::minutes(LoginAttemptRepository::RECENT_MINUTES);
    for (user_id, failure, attempted_at) in [
        (Some(ada), wrong, now),
        (
            Some(ada),
            Some(LoginFailure::UserBlocked),
            now - TimeDelta::minutes(5),
        ),
        (Some(ada), wrong, now - window),
        // Too old, a success, somebody else's, nobody's.
        (Some(ada), wrong, now - window - TICK),
        (Some(ada), None, now),
        (Some(grace), wrong, now),
        (None, Some(LoginFailure::UnknownUser), now),
    ] {
        attempts
            .create(attempt(user_id, failure, attempted_at))
            .await
            .unwrap();
    }

    let count = |user_id, minutes| attempts.count_recent_failures(user_id, minutes, now);

    assert_eq!(
        count(ada, LoginAttemptRepository::RECENT_MINUTES).await.unwrap(),
        3
    );
    assert_eq!(count(ada, 4).await.unwrap(), 1);
    assert_eq!(count(ada, 60).await.unwrap(), 4);
    assert_eq!(count(grace, 15).await.unwrap(), 1);
    assert_eq!(count(UserId::generate(now), 15).await.unwrap(), 0);
}

async fn rag_08_rag_09_old_attempts_are_deleted_after_ninety_days(t: Test) {
    assert_eq!(LoginAttemptRepository::KEPT_DAYS, 90);
    let (attempts, [ada, _]) = repository(&t).await;
    let now = SystemClock.now();
    let limit = now - TimeDelta::days(90);
    for (failure, attempted_at) in [
        (None, limit - TimeDelta::days(30)),
        (Some(LoginFailure::WrongPassword), limit - TICK),
        (None, limit),
        (None, now),
    ] {
        attempts
            .create(attempt(Some(ada), failure, attempted_at))
            .await
            .unwrap();
    }

    let delete_old = |days| attempts.delete_old(days, now);

    assert_eq!(delete_old(100).await.unwrap(), 1);
    assert_eq!(delete_old(LoginAttemptRepository::KEPT_DAYS).await.unwrap(), 1);
    assert_eq!(delete_old(LoginAttemptRepository::KEPT_DAYS).await.unwrap(), 0);
    assert_eq!(count(&t, "login_attempts").await, "2");
}

/// They are deleted in batches, of which this takes several, the last one full.
async fn rag_08_any_number_of_old_attempts_is_deleted(t: Test) {
    const OLD: usize = 1500;
    let (attempts, [ada, _]) = repository(&t).await;
    let now = SystemClock.now();
    attempts.create(attempt(Some(ada), None, now)).await.unwrap();
    let rows = match t.backend {
        Backend::Postgres => format!(
            "SELECT gen_random_uuid(), 'password', true, now() - interval '91 days' FROM generate_series(1, {OLD})"
        ),
        Backend::Sqlite => format!(
            "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {OLD})
             SELECT randomblob(16), 'password', true, (unixepoch() - 91 * 86400) * 1000000 FROM numbers"
        ),
    };
    t.sql(&format!(
        "INSERT INTO login_attempts (id, method, success, attempted_at) {rows}"
    ))
    .await
    .unwrap();

    assert_eq!(attempts.delete_old(90, now).await.unwrap(), OLD);
    assert_eq!(count(&t, "login_attempts").await, "1");
}

async fn rag_11_old_tokens_and_attempts_are_purged_by_the_running_service(t: Test) {
    sign_in_long_ago_and_today(&t).await;

    let server = t.start_with(CONFIGURATION).await;

    eventually("what is old is gone", async || {
        (
            count(&t, "refresh_tokens").await,
            count(&t, "login_attempts").await,
        ) == ("1".to_owned(), "1".to_owned())
    })
    .await;
    server.shutdown().await;
    assert_eq!(count(&t, "users").await, "2");
}

async fn rag_11_old_tokens_and_attempts_are_purged_by_a_command(t: Test) {
    sign_in_long_ago_and_today(&t).await;

    let (code, _, stderr) = t.run(CONFIGURATION, &["purge"]).await;

    assert_eq!((code, stderr.as_str()), (0, ""));
    assert_eq!(count(&t, "refresh_tokens").await, "1");
    assert_eq!(count(&t, "login_attempts").await, "1");
    assert_eq!(count(&t, "users").await, "2");
}

/// Leaves two tokens and two attempts behind, one of each long over, and no server.
async fn sign_in_long_ago_and_today(t: &Test) {
    let long_ago = TimeDelta::days(91);
    t.clock.advance(-long_ago);
    let server = t.start_with(CONFIGURATION).await;
    server.signed_in("ada@example.com").await;
    t.clock.advance(long_ago);
    server.signed_in("grace@example.com").await;
    server.shutdown().await;
    assert_eq!(count(t, "refresh_tokens").await, "2");
    assert_eq!(count(t, "login_attempts").await, "2");
}
