//! What somebody can learn who does not know the password: nothing, by answer or by work.

use identity::proto::identity::v1::{LoginAttempt, LoginAttemptFilter, LoginFailureReason};
use tonic::Code;

use crate::credential_service::calls::set_password;
use crate::security_service::calls::attempts;
use crate::support::{Behaviour, Clients, Failure, PASSWORD, Test, behaviours, new_user};
use crate::user_service::calls::{Change, Method, assert_failed};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        e01_e02_every_wrong_answer_has_the_same_bytes_and_costs_one_hash,
        e01_only_the_right_password_tells_that_a_user_is_kept_out,
        e01_a_user_who_is_kept_out_gets_no_session_by_any_route,
        e01_a_locked_name_is_answered_alike_whether_it_is_somebodys_or_not,
        p11_a_user_without_a_password_is_let_in_with_none,
        p01_p04_long_passwords_are_wrong_and_never_cut,
    ]
}

/// Tries to sign in in vain. Returns everything that the caller can see of the answer, and the number of hashes that
/// were computed for it.
async fn refusal(clients: &Clients, name: &str, password: &str) -> (Answer, u64) {
    let before = clients.computed_hashes().await;
    let failure = clients.sign_in(name, password).await.expect_err(name);
    let after = clients.computed_hashes().await;
    (Answer::of(&failure), after - before)
}

/// What a caller sees of a failure.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    code: Code,
    message: String,
    details: Vec<u8>,
    metadata: Vec<String>,
}

impl Answer {
    fn of(failure: &Failure) -> Self {
        let status = failure.status();
        let mut metadata: Vec<String> = status.metadata().keys().map(|key| format!("{key:?}")).collect();
        metadata.sort();
        Self {
            code: status.code(),
            message: status.message().to_owned(),
            details: status.details().to_vec(),
            metadata,
        }
    }
}

/// Creates a user in each state, and returns their names: a password, none, blocked, inactive and deleted.
async fn users_in_every_state(clients: &Clients) -> [&'static str; 5] {
    let names = [
        "ada@example.com",
        "without@example.com",
        "blocked@example.com",
        "inactive@example.com",
        "deleted@example.com",
    ];
    let [with, without, blocked, inactive, deleted] = names;
    clients.create_with_password(with).await;
    clients.create_user(without).await;
    for (name, method) in [
        (blocked, Method::Block),
        (inactive, Method::Deactivate),
        (deleted, Method::Delete),
    ] {
        let user = clients.create_with_password(name).await;
        method.call(clients, Change::of(&user.id)).await.unwrap();
    }
    names
}

async fn e01_e02_every_wrong_answer_has_the_same_bytes_and_costs_one_hash(t: Test) {
    let server = t.start().await;
    let names = users_in_every_state(&server).await;
    let wrong = "the wrong password of somebody";
    let (expected, cost) = refusal(&server, names[0], wrong).await;
    assert_eq!(expected.code, Code::Unauthenticated);
    assert_eq!(cost, 1, "a wrong password");

    let too_long = "x".repeat(500);
    let mut arms: Vec<(&str, &str)> = Vec::new();
    for name in names.into_iter().chain([
        "nobody@example.com",
        r"\no\body",
        "no login name at all",
        "\u{17f}omebody@example.com",
    ]) {
        arms.push((name, wrong));
        arms.push((name, &too_long));
    }
    // No password is right for these.
    arms.extend([
        ("without@example.com", PASSWORD),
        ("deleted@example.com", PASSWORD),
        ("nobody@example.com", PASSWORD),
    ]);
    for (name, password) in arms {
        let (answer, hashes) = refusal(&server, name, password).await;
        assert_eq!(answer, expected, "{name}");
        assert_eq!(hashes, 1, "{name}");
    }
}

async fn e01_only_the_right_password_tells_that_a_user_is_kept_out(t: Test) {
    let server = t.start().await;
    users_in_every_state(&server).await;
    for (name, reason) in [
        ("blocked@example.com", "USER_BLOCKED"),
        ("inactive@example.com", "USER_INACTIVE"),
    ] {
        let before = server.computed_hashes().await;
        assert_failed(
            server.sign_in(name, "the wrong password of somebody").await,
            Code::Unauthenticated,
            "INVALID_CREDENTIALS",
        );
        // More often than wrong ones are allowed: a right password is no guess.
        for _ in 0..7 {
            assert_failed(
                server.sign_in(name, PASSWORD).await,
                Code::FailedPrecondition,
                reason,
            );
        }
        let computed = server.computed_hashes().await - before;
        assert_eq!(computed, 8, "{name}");
    }
}

async fn e01_a_user_who_is_kept_out_gets_no_session_by_any_route(t: Test) {
    let server = t.start().await;
    for (name, method) in [
        ("blocked@example.com", Method::Block),
        ("inactive@example.com", Method::Deactivate),
    ] {
        let (user, tokens) = server.signed_in(name).await;
        method.call(&server, Change::of(&user.id)).await.unwrap();
        set_password(&server, &user.id, "a new and better one")
            .await
            .unwrap();

        server.sign_in(name, "a new and better one").await.unwrap_err();
        server.refresh(&tokens.refresh_token).await.unwrap_err();
        assert!(!server.is_active(&tokens.access_token).await, "{name}");
        let live = t
            .sql_value("SELECT count(*) AS value FROM sessions WHERE revoked_at IS NULL")
            .await;
        assert_eq!(live.as_deref(), Some("0"), "{name}");
    }
    let listed = attempts(&server, LoginAttemptFilter::default()).await.unwrap();
    let reasons: Vec<_> = listed.iter().map(LoginAttempt::failure_reason).collect();
    assert!(reasons.contains(&LoginFailureReason::UserBlocked), "{reasons:?}");
    assert!(reasons.contains(&LoginFailureReason::UserInactive), "{reasons:?}");
}

async fn e01_a_locked_name_is_answered_alike_whether_it_is_somebodys_or_not(t: Test) {
    let server = t.start().await;
    users_in_every_state(&server).await;
    let names = [
        "ada@example.com",
        "without@example.com",
        "blocked@example.com",
        "inactive@example.com",
        "deleted@example.com",
        "nobody@example.com",
        r"\no\body",
        "no login name at all",
    ];
    for name in names {
        for _ in 0..5 {
            let failure = server.sign_in(name, "a wrong password").await.unwrap_err();
            assert_eq!(failure.reason(), "INVALID_CREDENTIALS", "{name}");
        }
        let (answer, cost) = refusal(&server, name, PASSWORD).await;
        assert_eq!(answer.code, Code::ResourceExhausted, "{name}");
        assert_eq!(cost, 0, "{name}");
    }
}

async fn p11_a_user_without_a_password_is_let_in_with_none(t: Test) {
    let server = t.start().await;
    let user = server.create(new_user().email("ada@example.com")).await.unwrap();
    assert!(!user.password_set);
    for password in ["null", "NULL", " ", "$2b$04$"] {
        let (answer, cost) = refusal(&server, "ada@example.com", password).await;
        assert_eq!(answer.code, Code::Unauthenticated, "{password}");
        assert_eq!(cost, 1, "{password}");
    }
    let failure = server.sign_in("ada@example.com", "").await.unwrap_err();
    assert_eq!(
        failure.fields(),
        [("password".to_owned(), "FIELD_REQUIRED".to_owned())]
    );
}

async fn p01_p04_long_passwords_are_wrong_and_never_cut(t: Test) {
    let server = t.start().await;
    let longest = "p".repeat(72);
    let user = new_user().email("ada@example.com").password(&longest);
    server.create(user).await.unwrap();
    let wrong = refusal(&server, "ada@example.com", "a wrong password").await;
    server.sign_in("ada@example.com", &longest).await.unwrap();

    for too_long in [format!("{longest}WRONG"), format!("{longest}p"), "p".repeat(1024)] {
        let outcome = refusal(&server, "ada@example.com", &too_long).await;
        assert_eq!(outcome, wrong, "{} bytes", too_long.len());
    }
    for far_too_long in ["p".repeat(1025), "p".repeat(100_000)] {
        let before = server.computed_hashes().await;
        let failure = server
            .sign_in("ada@example.com", &far_too_long)
            .await
            .unwrap_err();
        assert_eq!(failure.code(), Code::InvalidArgument);
        assert_eq!(
            failure.fields(),
            [("password".to_owned(), "VALUE_OUT_OF_RANGE".to_owned())]
        );
        assert_eq!(failure.metadata("limit").as_deref(), Some("1024"));
        let computed = server.computed_hashes().await - before;
        assert_eq!(computed, 0, "hashes");
    }
    server.sign_in("ada@example.com", &longest).await.unwrap();
}
