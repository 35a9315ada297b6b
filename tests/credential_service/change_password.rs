//! `ChangePassword`: by the user alone, with the password the user has now.

use futures_util::future::join_all;
use identity::proto::identity::v1::ChangePasswordRequest;
use tonic::Code;

use super::calls::{OTHER_PASSWORD, change_password, change_password_with, set_password, stored_hash};
use crate::security_service::calls::lockout_of_user;
use crate::support::{Behaviour, PASSWORD, Test, behaviours};
use crate::user_service::calls::{Change, Method, assert_failed, assert_refused};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        p10_a_change_ends_every_other_session,
        p09_a_wrong_current_password_changes_nothing,
        p09_the_new_password_must_be_another_one,
        p09_only_a_good_access_token_changes_a_password,
        c06_of_two_parallel_changes_one_wins,
        c06_of_many_parallel_changes_over_replicas_one_wins,
        a_user_without_a_password_cannot_change_one,
        every_violation_is_reported_at_once,
    ]
}

const EMAIL: &str = "ada@example.com";

async fn p10_a_change_ends_every_other_session(t: Test) {
    let server = t.start().await;
    let (_, own) = server.signed_in(EMAIL).await;
    let other = server.sign_in(EMAIL, PASSWORD).await.unwrap();

    let user = change_password(&server, &own.access_token, PASSWORD, OTHER_PASSWORD)
        .await
        .unwrap();

    assert!(user.password_set);
    assert!(!server.is_active(&other.access_token).await);
    assert_failed(
        server.refresh(&other.refresh_token).await,
        Code::Unauthenticated,
        "SESSION_ENDED",
    );
    // The session of the change goes on, with new tokens.
    assert!(!server.is_active(&own.access_token).await);
    let next = server.refresh(&own.refresh_token).await.unwrap();
    assert!(server.is_active(&next.access_token).await);
    assert_eq!(next.session_id, own.session_id);
    server.sign_in(EMAIL, OTHER_PASSWORD).await.unwrap();
    server.sign_in(EMAIL, PASSWORD).await.unwrap_err();
}

async fn p09_a_wrong_current_password_changes_nothing(t: Test) {
    let server = t.start().await;
    let (user, tokens) = server.signed_in(EMAIL).await;
    let hash = stored_hash(&t, EMAIL).await;
    for wrong in ["a wrong password".to_owned(), "x".repeat(500)] {
        let before = server.computed_hashes().await;
        assert_failed(
            change_password(&server, &tokens.access_token, &wrong, OTHER_PASSWORD).await,
            Code::Unauthenticated,
            "INVALID_CREDENTIALS",
        );
        assert_eq!(
            server.computed_hashes().await - before,
            1,
            "the new one is not hashed"
        );
    }

    assert_eq!(stored_hash(&t, EMAIL).await, hash);
    assert_eq!(server.get(&user.id).await.unwrap(), user);
    assert!(server.is_active(&tokens.access_token).await);
    server.refresh(&tokens.refresh_token).await.unwrap();
    // The network is one that the user has signed in from: it is counted there, and not for strangers.
    let lockout = lockout_of_user(&server, &user.id).await.unwrap();
    assert_eq!(lockout.failed_attempts, 0);
}

async fn p09_the_new_password_must_be_another_one(t: Test) {
    const COMPOSED: &str = "Caf\u{e9} au lait et croissant";
    const DECOMPOSED: &str = "Cafe\u{301} au lait et croissant";
    let server = t.start().await;
    let (user, _) = server.signed_in(EMAIL).await;
    set_password(&server, &user.id, COMPOSED).await.unwrap();
    let tokens = server.sign_in(EMAIL, DECOMPOSED).await.unwrap();
    let hash = stored_hash(&t, EMAIL).await;
    // However it is typed, it is the same password.
    for (current, new) in [
        (COMPOSED, COMPOSED),
        (COMPOSED, DECOMPOSED),
        (DECOMPOSED, COMPOSED),
        (DECOMPOSED, DECOMPOSED),
    ] {
        let outcome = change_password(&server, &tokens.access_token, current, new).await;
        assert_refused(outcome, "new_password", "PASSWORD_UNCHANGED");
    }
    assert_eq!(stored_hash(&t, EMAIL).await, hash);
    assert!(server.is_active(&tokens.access_token).await);
}

async fn p09_only_a_good_access_token_changes_a_password(t: Test) {
    let server = t.start().await;
    let (user, tokens) = server.signed_in(EMAIL).await;
    let (_, of_bob) = server.signed_in("bob@example.com").await;
    let request = || ChangePasswordRequest {
        current_password: PASSWORD.to_owned(),
        new_password: OTHER_PASSWORD.to_owned(),
        ..ChangePasswordRequest::default()
    };

    let status = server.credentials().change_password(request()).await.unwrap_err();
    let failure = crate::support::Failure::from(status);
    assert_eq!(failure.reason(), "TOKEN_REQUIRED");
    for token in ["nonsense", &tokens.refresh_token] {
        assert_failed(
            change_password_with(&server, token, request()).await,
            Code::Unauthenticated,
            "TOKEN_INVALID",
        );
    }
    // Another user's token changes the password of that other user.
    change_password_with(&server, &of_bob.access_token, request())
        .await
        .unwrap();
    server.sign_in(EMAIL, PASSWORD).await.unwrap();

    Method::Block.call(&server, Change::of(&user.id)).await.unwrap();
    assert_failed(
        change_password_with(&server, &tokens.access_token, request()).await,
        Code::Unauthenticated,
        "SESSION_ENDED",
    );
}

async fn c06_of_two_parallel_changes_one_wins(t: Test) {
    let server = t.start().await;
    let (_, mut tokens) = server.signed_in(EMAIL).await;
    let mut current = PASSWORD.to_owned();
    for round in 0..10 {
        let candidates = [0, 1].map(|number| format!("password {number} of round {round}"));
        let [first, second] = &candidates;

        let (one, two) = tokio::join!(
            change_password(&server, &tokens.access_token, &current, first),
            change_password(&server, &tokens.access_token, &current, second),
        );

        assert_ne!(one.is_ok(), two.is_ok(), "{one:?} {two:?}");
        let [winner, loser] = if one.is_ok() {
            [first, second]
        } else {
            [second, first]
        };
        let failure = one.err().or(two.err()).unwrap();
        assert!(
            ["INVALID_CREDENTIALS", "SESSION_ENDED"].contains(&failure.reason().as_str()),
            "{failure:?}"
        );
        for wrong in [loser, &current] {
            server.sign_in(EMAIL, wrong).await.expect_err(wrong);
        }
        tokens = server.sign_in(EMAIL, winner).await.unwrap();
        current.clone_from(winner);
    }
}

async fn c06_of_many_parallel_changes_over_replicas_one_wins(t: Test) {
    let patient = [
        ("IDENTITY_LOCKOUT_FAILURES", "1000"),
        ("IDENTITY_DATABASE_POOL_ACQUIRE_TIMEOUT", "60s"),
        ("IDENTITY_MAX_DEADLINE", "60s"),
    ];
    let servers = [t.start_with(&patient).await, t.start_with(&patient).await];
    let (_, tokens) = servers[0].signed_in(EMAIL).await;
    let passwords: Vec<String> = (0..20)
        .map(|number| format!("the password {number} of many"))
        .collect();

    let changes = passwords.iter().enumerate().map(|(number, password)| {
        change_password(&servers[number % 2], &tokens.access_token, PASSWORD, password)
    });
    let outcomes = join_all(changes).await;

    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    for (password, outcome) in passwords.iter().zip(&outcomes) {
        let signed_in = servers[0].sign_in(EMAIL, password).await;
        assert_eq!(signed_in.is_ok(), outcome.is_ok(), "{password}");
    }
    servers[0].sign_in(EMAIL, PASSWORD).await.unwrap_err();
}

async fn a_user_without_a_password_cannot_change_one(t: Test) {
    let server = t.start().await;
    let (_, tokens) = server.signed_in(EMAIL).await;
    t.begin_with_google().await;
    t.sql("UPDATE users SET password_hash = NULL, password_changed_at = NULL")
        .await
        .unwrap();
    let before = server.computed_hashes().await;

    assert_failed(
        change_password(&server, &tokens.access_token, PASSWORD, OTHER_PASSWORD).await,
        Code::Unauthenticated,
        "INVALID_CREDENTIALS",
    );

    assert_eq!(server.computed_hashes().await - before, 1);
    assert_eq!(stored_hash(&t, EMAIL).await, None);
}

async fn every_violation_is_reported_at_once(t: Test) {
    let server = t.start().await;
    let (_, tokens) = server.signed_in(EMAIL).await;
    let request = ChangePasswordRequest {
        current_password: "c".repeat(1025),
        new_password: "short".to_owned(),
        client: Some(identity::proto::identity::v1::Client {
            ip_address: "nowhere".to_owned(),
            ..identity::proto::identity::v1::Client::default()
        }),
        request_id: "1".to_owned(),
    };
    let failure = change_password_with(&server, &tokens.access_token, request)
        .await
        .unwrap_err();
    assert_eq!(failure.code(), Code::InvalidArgument);
    let fields: Vec<String> = failure.fields().into_iter().map(|(field, _)| field).collect();
    assert_eq!(
        fields,
        [
            "current_password",
            "new_password",
            "client.ip_address",
            "request_id"
        ]
    );
}
