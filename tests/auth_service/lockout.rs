//! How often somebody can guess: the limit of one network, under every name, on every server, at any time.

use chrono::TimeDelta;
use futures_util::future::join_all;
use identity::proto::identity::v1::ChangePasswordRequest;
use tonic::Code;

use crate::credential_service::calls::{OTHER_PASSWORD, change_password_with, verify_password};
use crate::security_service::calls::{clear_user, lockout_of_user};
use crate::support::{
    Behaviour, Clients, Failure, PASSWORD, Test, TestServer, behaviours, eventually, new_user,
};
use crate::user_service::calls::assert_failed;

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        l01_the_limit_holds_for_a_window_and_no_longer,
        l01_a_limit_of_one_is_one_in_every_window,
        l01_a_success_in_between_starts_the_count_anew,
        l02_parallel_guesses_are_limited,
        l02_a_right_password_among_parallel_guesses_is_worth_one_guess,
        l03_replicas_share_the_count,
        l04_every_form_of_every_name_of_a_user_is_one_count,
        l09_the_count_survives_a_killed_process,
        l10_a_clock_set_back_locks_nobody_out_and_allows_one_guess,
        l10_a_clock_set_forward_is_worth_one_window,
        l11_a_locked_name_tells_nothing_of_the_password,
        l11_sessions_of_a_locked_user_go_on,
        every_check_of_a_password_is_counted_together,
        a_cleared_user_may_try_again,
    ]
}

const EMAIL: &str = "ada@example.com";
const WRONG: &str = "a wrong password";

/// The failures that one network may have, unless configured.
const LIMIT: usize = 5;

/// Everything waits as long as it takes, so that no guess is refused for another reason.
const PATIENT: [(&str, &str); 7] = [
    ("IDENTITY_HASHING_QUEUE", "1000"),
    ("IDENTITY_MAX_DEADLINE", "60s"),
    ("IDENTITY_DATABASE_POOL_ACQUIRE_TIMEOUT", "60s"),
    ("IDENTITY_DATABASE_LOCK_TIMEOUT", "60s"),
    ("IDENTITY_DATABASE_STATEMENT_TIMEOUT", "60s"),
    ("IDENTITY_DATABASE_BUSY_TIMEOUT", "60s"),
    ("IDENTITY_DATABASE_IDLE_IN_TRANSACTION_TIMEOUT", "60s"),
];

/// Fails to sign in as often as is allowed.
async fn exhaust(clients: &Clients, name: &str) {
    for _ in 0..LIMIT {
        assert_failed(
            clients.sign_in(name, WRONG).await,
            Code::Unauthenticated,
            "INVALID_CREDENTIALS",
        );
    }
}

/// Asserts that a name has to wait. Returns how long.
async fn assert_locked(clients: &Clients, name: &str) -> TimeDelta {
    let failure = clients.sign_in(name, PASSWORD).await.expect_err("a lock");
    assert_eq!(
        (failure.code(), failure.reason().as_str()),
        (Code::ResourceExhausted, "TOO_MANY_ATTEMPTS")
    );
    TimeDelta::from_std(failure.retry_delay().expect("a delay")).unwrap()
}

async fn l01_the_limit_holds_for_a_window_and_no_longer(t: Test) {
    let server = t.start().await;
    let user = server.create_with_password(EMAIL).await;
    exhaust(&server, EMAIL).await;

    let wait = assert_locked(&server, EMAIL).await;
    assert!(wait <= TimeDelta::minutes(15), "{wait}");
    assert!(wait > TimeDelta::minutes(10), "{wait}");
    let lockout = lockout_of_user(&server, &user.id).await.unwrap();
    assert_eq!(lockout.locked_networks, 1);
    assert!(lockout.networks_retry_time.is_some());

    // Asking again does not prolong the wait.
    server.clock.advance(TimeDelta::minutes(10));
    let rest = assert_locked(&server, EMAIL).await;
    assert!(rest <= TimeDelta::minutes(5), "{rest}");

    server.clock.advance(rest);
    server.sign_in(EMAIL, PASSWORD).await.unwrap();
    exhaust(&server, EMAIL).await;
    assert_locked(&server, EMAIL).await;
}

async fn l01_a_limit_of_one_is_one_in_every_window(t: Test) {
    let server = t.start_with(&[("IDENTITY_LOCKOUT_FAILURES", "1")]).await;
    server.create_with_password(EMAIL).await;
    for _ in 0..3 {
        let failure = server.sign_in(EMAIL, WRONG).await.unwrap_err();
        assert_eq!(failure.reason(), "INVALID_CREDENTIALS");
        let wait = assert_locked(&server, EMAIL).await;
        server.clock.advance(wait);
    }
    server.sign_in(EMAIL, PASSWORD).await.unwrap();
}

async fn l01_a_success_in_between_starts_the_count_anew(t: Test) {
    let server = t.start().await;
    server.create_with_password(EMAIL).await;
    for _ in 0..3 {
        for _ in 0..LIMIT - 1 {
            let failure = server.sign_in(EMAIL, WRONG).await.unwrap_err();
            assert_eq!(failure.reason(), "INVALID_CREDENTIALS");
        }
        server.sign_in(EMAIL, PASSWORD).await.unwrap();
    }
    exhaust(&server, EMAIL).await;
    assert_locked(&server, EMAIL).await;
}

/// Guesses in parallel, in turn on each server. Returns the answers.
async fn guess_in_parallel(servers: &[TestServer], count: usize) -> Vec<Failure> {
    let guesses = (0..count).map(|number| {
        let clients = &servers[number % servers.len()];
        async move {
            let guess = format!("a wrong password {number}");
            clients
                .sign_in(EMAIL, &guess)
                .await
                .expect_err("a wrong password")
        }
    });
    join_all(guesses).await
}

/// Asserts how many of the answers are about the password. The others say that there were too many.
fn assert_decided(answers: &[Failure], decided: usize) {
    let count = |reason: &str| {
        answers
            .iter()
            .filter(|failure| failure.reason() == reason)
            .count()
    };
    assert_eq!(
        (count("INVALID_CREDENTIALS"), count("TOO_MANY_ATTEMPTS")),
        (decided, answers.len() - decided)
    );
}

async fn l02_parallel_guesses_are_limited(t: Test) {
    let server = t.start_with(&PATIENT).await;
    server.create_with_password(EMAIL).await;
    let servers = [server];
    let before = servers[0].computed_hashes().await;

    let answers = guess_in_parallel(&servers, 200).await;

    assert_decided(&answers, LIMIT);
    let computed = servers[0].computed_hashes().await - before;
    assert_eq!(computed, u64::try_from(LIMIT).unwrap());
    for failure in answers {
        assert!(failure.reason() != "TOO_MANY_ATTEMPTS" || failure.retry_delay().is_some());
    }
}

async fn l02_a_right_password_among_parallel_guesses_is_worth_one_guess(t: Test) {
    let server = t.start_with(&PATIENT).await;
    server.create_with_password(EMAIL).await;
    let before = server.computed_hashes().await;

    let wrong = join_all((0..100).map(|_| server.sign_in(EMAIL, WRONG)));
    let right = server.sign_in(EMAIL, PASSWORD);
    let (wrong, right) = tokio::join!(wrong, right);

    // If it is looked at, it takes the failures before it away, so that as many are possible after it.
    let most = if right.is_ok() { 2 * LIMIT } else { LIMIT };
    let computed = server.computed_hashes().await - before;
    assert!(computed <= u64::try_from(most).unwrap(), "{computed} of {most}");
    assert!(wrong.iter().all(Result::is_err));
    // A success may be written after the last guess, and then it takes all of them away.
    if right.is_err() {
        assert_locked(&server, EMAIL).await;
    }
}

async fn l03_replicas_share_the_count(t: Test) {
    let servers = [
        t.start_with(&PATIENT).await,
        t.start_with(&PATIENT).await,
        t.start_with(&PATIENT).await,
    ];
    servers[0].create_with_password(EMAIL).await;
    let mut before = 0;
    for server in &servers {
        before += server.computed_hashes().await;
    }

    let answers = guess_in_parallel(&servers, 200).await;

    assert_decided(&answers, LIMIT);
    let mut after = 0;
    for server in &servers {
        after += server.computed_hashes().await;
        assert_locked(server, EMAIL).await;
    }
    assert_eq!(after - before, u64::try_from(LIMIT).unwrap());
}

async fn l04_every_form_of_every_name_of_a_user_is_one_count(t: Test) {
    let server = t.start().await;
    let user = new_user()
        .email("Zo\u{eb}.ff@Example.com")
        .username("\\Home\\Zo\u{eb}")
        .password(PASSWORD);
    let user = server.create(user).await.unwrap();
    let forms = [
        "Zo\u{eb}.ff@Example.com",
        "ZO\u{cb}.FF@EXAMPLE.COM",
        "zoe\u{308}.ff@example.com",
        "zo\u{eb}.\u{fb00}@example.com",
        "\\home\\zo\u{eb}",
        "\\HOME\\ZOE\u{308}",
    ];

    for form in &forms[..LIMIT] {
        let failure = server.sign_in(form, WRONG).await.expect_err(form);
        assert_eq!(failure.reason(), "INVALID_CREDENTIALS", "{form}");
    }
    for form in forms {
        assert_locked(&server, form).await;
    }
    let lockout = lockout_of_user(&server, &user.id).await.unwrap();
    assert_eq!((lockout.failed_attempts, lockout.locked_networks), (5, 1));

    // The forms of a name that is nobody's are one count, too.
    for form in [
        "No\u{eb}@x.io",
        "NO\u{cb}@X.IO",
        "noe\u{308}@x.io",
        "no\u{eb}@x.io",
        "No\u{cb}@x.io",
    ] {
        let failure = server.sign_in(form, WRONG).await.expect_err(form);
        assert_eq!(failure.reason(), "INVALID_CREDENTIALS", "{form}");
    }
    assert_locked(&server, "no\u{eb}@x.io").await;
}

async fn l09_the_count_survives_a_killed_process(t: Test) {
    let mut server = t.spawn(&[], &["serve"]);
    server.wait_until_serving().await;
    server.create_with_password(EMAIL).await;
    for _ in 0..3 {
        server.sign_in(EMAIL, WRONG).await.unwrap_err();
    }
    server.kill_9();

    let mut restarted = t.spawn(&[], &["serve"]);
    restarted.wait_until_serving().await;
    for _ in 3..LIMIT {
        let failure = restarted.sign_in(EMAIL, WRONG).await.unwrap_err();
        assert_eq!(failure.reason(), "INVALID_CREDENTIALS");
    }
    assert_locked(&restarted, EMAIL).await;
    restarted.kill_9();

    let mut again = t.spawn(&[], &["serve"]);
    again.wait_until_serving().await;
    assert_locked(&again, EMAIL).await;
}

async fn l10_a_clock_set_back_locks_nobody_out_and_allows_one_guess(t: Test) {
    let server = t.start().await;
    server.create_with_password(EMAIL).await;
    exhaust(&server, EMAIL).await;
    server.clock.advance(TimeDelta::hours(-1));

    let failure = server.sign_in(EMAIL, WRONG).await.unwrap_err();
    assert_eq!(failure.reason(), "INVALID_CREDENTIALS");
    let wait = assert_locked(&server, EMAIL).await;
    assert!(wait <= TimeDelta::minutes(15), "{wait}");
    server.clock.advance(wait);
    server.sign_in(EMAIL, PASSWORD).await.unwrap();

    exhaust(&server, EMAIL).await;
    server.clock.advance(TimeDelta::hours(-1));
    server.sign_in(EMAIL, PASSWORD).await.unwrap();
}

async fn l10_a_clock_set_forward_is_worth_one_window(t: Test) {
    let server = t.start().await;
    server.create_with_password(EMAIL).await;
    exhaust(&server, EMAIL).await;
    server.clock.advance(TimeDelta::days(1));
    exhaust(&server, EMAIL).await;
    assert_locked(&server, EMAIL).await;

    // Set right again, the failures of the day that has not been yet hold nobody up for a day.
    server.clock.advance(TimeDelta::days(-1));
    let failure = server.sign_in(EMAIL, WRONG).await.unwrap_err();
    assert_eq!(failure.reason(), "INVALID_CREDENTIALS");
    let wait = assert_locked(&server, EMAIL).await;
    assert!(wait <= TimeDelta::minutes(15), "{wait}");
    server.clock.advance(wait);
    server.sign_in(EMAIL, PASSWORD).await.unwrap();
}

async fn l11_a_locked_name_tells_nothing_of_the_password(t: Test) {
    let server = t.start().await;
    server.create_with_password(EMAIL).await;
    exhaust(&server, EMAIL).await;
    exhaust(&server, "nobody@example.com").await;
    let before = server.computed_hashes().await;
    let visible = async |name: &str, password: &str| {
        let failure = server.sign_in(name, password).await.expect_err(name);
        assert_eq!(failure.reason(), "TOO_MANY_ATTEMPTS");
        let status = failure.status();
        (status.message().to_owned(), status.details().to_vec())
    };

    // The seconds to wait are in the answer, so only those of one second can be compared.
    let (wrong, right) = eventually("two answers within a second", async || {
        let first = visible(EMAIL, WRONG).await;
        let right = visible(EMAIL, PASSWORD).await;
        let last = visible(EMAIL, WRONG).await;
        (first == last).then_some((first, right))
    })
    .await;

    assert_eq!(right, wrong);
    visible("nobody@example.com", PASSWORD).await;
    assert_eq!(server.computed_hashes().await, before, "nothing is looked at");
}

async fn l11_sessions_of_a_locked_user_go_on(t: Test) {
    let server = t.start().await;
    let (_, tokens) = server.signed_in(EMAIL).await;
    exhaust(&server, EMAIL).await;
    assert_locked(&server, EMAIL).await;

    assert!(server.is_active(&tokens.access_token).await);
    let next = server.refresh(&tokens.refresh_token).await.unwrap();
    assert!(server.is_active(&next.access_token).await);
    server.refresh(&next.refresh_token).await.unwrap();
    assert_locked(&server, EMAIL).await;
}

async fn every_check_of_a_password_is_counted_together(t: Test) {
    let server = t.start().await;
    let (user, tokens) = server.signed_in(EMAIL).await;
    let change = |current: &str| ChangePasswordRequest {
        current_password: current.to_owned(),
        new_password: OTHER_PASSWORD.to_owned(),
        ..ChangePasswordRequest::default()
    };

    server.sign_in(EMAIL, WRONG).await.unwrap_err();
    for _ in 0..2 {
        assert!(!verify_password(&server, &user.id, WRONG).await.unwrap());
        assert_failed(
            change_password_with(&server, &tokens.access_token, change(WRONG)).await,
            Code::Unauthenticated,
            "INVALID_CREDENTIALS",
        );
    }

    let before = server.computed_hashes().await;
    assert_locked(&server, EMAIL).await;
    assert_failed(
        verify_password(&server, &user.id, PASSWORD).await,
        Code::ResourceExhausted,
        "TOO_MANY_ATTEMPTS",
    );
    assert_failed(
        change_password_with(&server, &tokens.access_token, change(PASSWORD)).await,
        Code::ResourceExhausted,
        "TOO_MANY_ATTEMPTS",
    );
    assert_eq!(server.computed_hashes().await, before);
    assert!(server.is_active(&tokens.access_token).await);

    server.clock.advance(TimeDelta::minutes(15));
    let fresh = server.refresh(&tokens.refresh_token).await.unwrap();
    assert!(verify_password(&server, &user.id, PASSWORD).await.unwrap());
    change_password_with(&server, &fresh.access_token, change(PASSWORD))
        .await
        .unwrap();
}

async fn a_cleared_user_may_try_again(t: Test) {
    let server = t.start().await;
    let user = server.create_with_password(EMAIL).await;
    exhaust(&server, EMAIL).await;
    assert_locked(&server, EMAIL).await;

    clear_user(&server, &user.id).await.unwrap();

    let lockout = lockout_of_user(&server, &user.id).await.unwrap();
    assert_eq!((lockout.failed_attempts, lockout.locked_networks), (0, 0));
    exhaust(&server, EMAIL).await;
    assert_locked(&server, EMAIL).await;
    clear_user(&server, &user.id).await.unwrap();
    server.sign_in(EMAIL, PASSWORD).await.unwrap();
}
