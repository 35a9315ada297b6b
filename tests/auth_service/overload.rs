//! More passwords than can be looked at: who is turned away or leaves has not failed, and costs nothing.

use futures_util::future::join_all;
use identity::proto::identity::v1::LoginAttemptFilter;
use tonic::Code;

use crate::security_service::calls::{attempts, lockout_of_user};
use crate::support::{Behaviour, Clients, PASSWORD, Test, behaviours, eventually, new_user};
use crate::user_service::calls::count;

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        overload_is_not_a_failure,
        x01_a_flood_of_sign_ins_is_refused_and_nobody_else_notices,
        x02_who_leaves_while_waiting_has_not_failed_and_is_never_looked_at,
        x02_who_leaves_while_signing_up_is_never_hashed,
        a_guess_that_is_being_looked_at_counts_though_its_caller_leaves,
    ]
}

const EMAIL: &str = "ada@example.com";
const WRONG: &str = "a wrong password";

/// One password at a time, and slow ones: about a second each.
const SLOW: [(&str, &str); 8] = [
    ("IDENTITY_BCRYPT_ENGINE", "reference"),
    ("IDENTITY_HASHING_THREADS", "1"),
    ("IDENTITY_HASHING_QUEUE", "1"),
    ("IDENTITY_BCRYPT_COST", "13"),
    ("IDENTITY_MAX_DEADLINE", "60s"),
    ("IDENTITY_DATABASE_POOL_ACQUIRE_TIMEOUT", "60s"),
    ("IDENTITY_LOCKOUT_FAILURES", "1000"),
    ("IDENTITY_LOCKOUT_FREE_FAILURES", "1000"),
];

/// Waits until a password is looked at, and another one waits for its turn.
async fn wait_until_full(clients: &Clients) {
    eventually("one is looked at and one waits", async || {
        let running = clients.metric("identity_hashing_running").await;
        let waiting = clients.metric("identity_hashing_waiting").await;
        running > 0.0 && waiting > 0.0
    })
    .await;
}

async fn wait_until_running(clients: &Clients) {
    eventually("one is looked at", async || {
        clients.metric("identity_hashing_running").await > 0.0
    })
    .await;
}

async fn failures(clients: &Clients, user_id: &str) -> i32 {
    let lockout = lockout_of_user(clients, user_id).await.unwrap();
    lockout.failed_attempts
}

async fn overload_is_not_a_failure(t: Test) {
    let fast = t.start().await;
    let user = fast.create_with_password(EMAIL).await;
    let server = t.start_with(&SLOW).await;
    let nobody = "nobody@example.com";

    // While a slow one is looked at, one of many may wait.
    let (_, answers) = tokio::join!(server.sign_in(nobody, WRONG), async {
        wait_until_running(&server).await;
        join_all((0..20).map(|_| server.sign_in(EMAIL, WRONG))).await
    });

    let mut decided = 0;
    for answer in answers {
        let failure = answer.unwrap_err();
        if failure.reason() == "INVALID_CREDENTIALS" {
            decided += 1;
            continue;
        }
        assert_eq!(
            (failure.code(), failure.reason().as_str()),
            (Code::ResourceExhausted, "HASHING_OVERLOADED")
        );
        assert!(failure.retry_delay().is_some_and(|delay| !delay.is_zero()));
    }
    assert!(decided < 20, "nobody was turned away");
    assert_eq!(failures(&server, &user.id).await, decided);
    let recorded = attempts(&server, LoginAttemptFilter::default()).await.unwrap();
    assert_eq!(i32::try_from(recorded.len()).unwrap(), decided + 1);
}

async fn x01_a_flood_of_sign_ins_is_refused_and_nobody_else_notices(t: Test) {
    // Here several at a time.
    let more = [
        ("IDENTITY_HASHING_QUEUE", "3"),
        ("IDENTITY_BCRYPT_ENGINE", "interleaved"),
    ];
    let server = t.start_with(&[SLOW.as_slice(), &more].concat()).await;
    let ada = server.create_user(EMAIL).await;

    let flood = join_all((0..300).map(|number| {
        let clients = (*server).clone();
        // Tasks of their own, so that they go on while the others are waited for.
        tokio::spawn(async move {
            clients
                .sign_in(&format!("nobody{number}@example.com"), WRONG)
                .await
        })
    }));
    let others = async {
        eventually("somebody is refused", async || {
            server.metric("identity_hashing_refused_total").await > 0.0
        })
        .await;
        for _ in 0..50 {
            assert!(server.is_serving().await);
            assert_eq!(server.get(&ada.id).await.unwrap(), ada);
            assert!(!server.is_active("no token at all").await);
            assert!(server.metric("identity_hashing_waiting").await <= 8.0);
        }
    };
    let (outcomes, ()) = tokio::join!(flood, others);

    let mut refused = 0;
    for outcome in outcomes {
        let failure = outcome.unwrap().unwrap_err();
        match failure.reason().as_str() {
            "INVALID_CREDENTIALS" => {}
            "HASHING_OVERLOADED" => {
                assert_eq!(failure.code(), Code::ResourceExhausted);
                assert!(failure.retry_delay().is_some_and(|delay| !delay.is_zero()));
                refused += 1;
            }
            _ => panic!("{failure:?}"),
        }
    }
    assert!(refused > 200, "{refused}");
    let transitions = server.http_get("/metrics").await.1;
    assert!(transitions.contains("identity_panics_total 0"));
}

async fn x02_who_leaves_while_waiting_has_not_failed_and_is_never_looked_at(t: Test) {
    let fast = t.start().await;
    let user = fast.create_with_password(EMAIL).await;
    let server = t.start_with(&SLOW).await;

    let (slow, ()) = tokio::join!(server.sign_in("nobody@example.com", WRONG), async {
        wait_until_running(&server).await;
        tokio::select! {
            outcome = server.sign_in(EMAIL, WRONG) => panic!("not kept waiting: {outcome:?}"),
            () = async {
                wait_until_full(&server).await;
                eventually("the attempt is counted", async || {
                    failures(&server, &user.id).await == 1
                }).await;
            } => {}
        }
        eventually("the attempt is taken back", async || {
            failures(&server, &user.id).await == 0
        })
        .await;
    });

    assert_eq!(slow.unwrap_err().reason(), "INVALID_CREDENTIALS");
    assert!((server.metric("identity_hashing_abandoned_total").await - 1.0).abs() < f64::EPSILON);
    assert_eq!(server.computed_hashes().await, 1);
    // The queue has its place back.
    server.sign_in(EMAIL, PASSWORD).await.unwrap();
    let recorded = attempts(
        &server,
        LoginAttemptFilter {
            user_id: user.id,
            ..LoginAttemptFilter::default()
        },
    )
    .await
    .unwrap();
    assert_eq!(recorded.len(), 1);
    assert!(recorded[0].success);
}

async fn x02_who_leaves_while_signing_up_is_never_hashed(t: Test) {
    let server = t.start_with(&SLOW).await;
    let bob = new_user().email("bob@example.com").password(PASSWORD);

    let (_, ()) = tokio::join!(server.sign_in("nobody@example.com", WRONG), async {
        wait_until_running(&server).await;
        tokio::select! {
            outcome = server.create(bob) => panic!("not kept waiting: {outcome:?}"),
            () = wait_until_full(&server) => {}
        }
        eventually("it is abandoned", async || {
            server.metric("identity_hashing_abandoned_total").await > 0.0
        })
        .await;
    });

    assert_eq!(server.computed_hashes().await, 1);
    assert_eq!(count(&t, "users").await, "0");
}

async fn a_guess_that_is_being_looked_at_counts_though_its_caller_leaves(t: Test) {
    let server = t.start_with(&SLOW).await;
    let user = server.create_with_password(EMAIL).await;
    let before = server.computed_hashes().await;
    tokio::select! {
        outcome = server.sign_in(EMAIL, WRONG) => panic!("it takes long: {outcome:?}"),
        () = wait_until_running(&server) => {}
    }

    eventually("the attempt is recorded", async || {
        let recorded = attempts(&server, LoginAttemptFilter::default()).await.unwrap();
        recorded.len() == 1
    })
    .await;
    assert_eq!(server.computed_hashes().await, before + 1);
    assert_eq!(failures(&server, &user.id).await, 1);
}
