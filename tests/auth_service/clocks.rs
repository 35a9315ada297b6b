//! Servers whose machines do not agree on the time.

use std::sync::Arc;

use chrono::TimeDelta;
use identity::clock::ShiftedClock;

use crate::support::{Behaviour, PASSWORD, Test, postgres_only};

pub fn tests() -> Vec<Behaviour> {
    postgres_only![r14_a_clock_that_is_wrong_expires_nothing_and_raises_no_alarm]
}

async fn r14_a_clock_that_is_wrong_expires_nothing_and_raises_no_alarm(t: Test) {
    // Shorter than the clocks differ.
    let short = [
        ("IDENTITY_ACCESS_TOKEN_LIFETIME", "20s"),
        ("IDENTITY_SESSION_IDLE_LIFETIME", "25s"),
    ];
    let right = t.start_with(&short).await;
    for error in [30, -30, 86_400] {
        let clock = ShiftedClock::of_wrong_machine(TimeDelta::seconds(error));
        let wrong = t.start_with_clock(&short, Arc::new(clock)).await;
        let email = format!("clock{error}@example.com");
        let (_, issued) = right.signed_in(&email).await;
        assert!(wrong.is_active(&issued.access_token).await, "{error}");

        let refreshed = right.refresh(&issued.refresh_token).await.unwrap();
        let repeated = wrong.refresh(&issued.refresh_token).await.unwrap();
        assert_eq!(repeated.refresh_token, refreshed.refresh_token, "{error}");
        let next = wrong.refresh(&refreshed.refresh_token).await.unwrap();
        assert!(right.is_active(&next.access_token).await, "{error}");

        let other = wrong.sign_in(&email, PASSWORD).await.unwrap();
        assert!(right.is_active(&other.access_token).await, "{error}");
        right.refresh(&other.refresh_token).await.unwrap();
    }
}
