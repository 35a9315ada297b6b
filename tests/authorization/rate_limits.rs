//! How often one caller may call.

use chrono::TimeDelta;
use tonic::Code;

use crate::support::{AUTH, Behaviour, Failure, Test, behaviours};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        a_service_that_calls_too_often_waits_and_the_others_do_not,
        a_user_that_calls_too_often_waits_and_the_others_do_not,
        the_health_is_never_limited,
    ]
}

const NOBODY: &str = "0190a5c3-0000-7000-8000-000000000000";

fn assert_limited(failure: &Failure, longest: TimeDelta) {
    assert_eq!(
        (failure.code(), failure.reason().as_str()),
        (Code::ResourceExhausted, "RATE_LIMITED")
    );
    let wait = failure.retry_delay().expect("a delay");
    assert!(!wait.is_zero() && wait <= longest.to_std().unwrap(), "{wait:?}");
}

async fn a_service_that_calls_too_often_waits_and_the_others_do_not(t: Test) {
    let server = t
        .start_with(&[AUTH, ("IDENTITY_RATE_LIMIT_PER_SERVICE", "5/h")])
        .await;
    let busy = server.with_token(&t.service_token("busy", &["users.read"]).await);
    // Another token of the same service does not help.
    let again = server.with_token(&t.service_token("busy", &["users.read"]).await);
    let calm = server.with_token(&t.service_token("calm", &["users.read"]).await);

    for clients in [&busy, &again, &busy, &again, &busy] {
        assert_eq!(clients.get(NOBODY).await.unwrap_err().code(), Code::NotFound);
    }
    for clients in [&busy, &again] {
        assert_limited(&clients.get(NOBODY).await.unwrap_err(), TimeDelta::minutes(12));
    }
    assert_eq!(calm.get(NOBODY).await.unwrap_err().code(), Code::NotFound);

    // A fifth of the hour gives one call back.
    server.clock.advance(TimeDelta::minutes(13));
    assert_eq!(busy.get(NOBODY).await.unwrap_err().code(), Code::NotFound);
    assert_limited(&busy.get(NOBODY).await.unwrap_err(), TimeDelta::minutes(12));
}

async fn a_user_that_calls_too_often_waits_and_the_others_do_not(t: Test) {
    let server = t
        .start_with(&[AUTH, ("IDENTITY_RATE_LIMIT_PER_USER", "3/h")])
        .await;
    let admin = server.with_token(&t.service_token("admin", &["admin"]).await);
    let (_, ada) = admin.signed_in("ada@example.com").await;
    let (_, bob) = admin.signed_in("bob@example.com").await;

    for _ in 0..3 {
        server.get_me(&ada.access_token).await.unwrap();
    }
    let failure = server.get_me(&ada.access_token).await.unwrap_err();

    assert_limited(&failure, TimeDelta::minutes(20));
    server.get_me(&bob.access_token).await.unwrap();
    admin
        .sign_in("ada@example.com", crate::support::PASSWORD)
        .await
        .unwrap();
}

async fn the_health_is_never_limited(t: Test) {
    let server = t
        .start_with(&[
            AUTH,
            ("IDENTITY_RATE_LIMIT_PER_SERVICE", "1/h"),
            ("IDENTITY_RATE_LIMIT_PER_USER", "1/h"),
        ])
        .await;
    for _ in 0..20 {
        assert!(server.is_serving().await);
    }
}
