//! When sessions expire: at their time, not before and not after, however often they are refreshed.

use chrono::{DateTime, TimeDelta, Utc};
use identity::clock::Clock;
use identity::proto::identity::v1::Session;
use prost_types::Timestamp;

use crate::session_service::calls::{count, reason, session, signed_in_again};
use crate::support::{Behaviour, Test, behaviours};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        r09_an_idle_session_expires_at_its_time,
        r09_refreshes_do_not_move_the_absolute_end,
        r09_an_access_token_does_not_outlive_its_session,
        r09_a_replay_after_the_end_is_only_expired,
    ]
}

const SHORT: [(&str, &str); 3] = [
    ("IDENTITY_SESSION_IDLE_LIFETIME", "1h"),
    ("IDENTITY_SESSION_LIFETIME", "3h"),
    ("IDENTITY_ACCESS_TOKEN_LIFETIME", "2h"),
];

fn at(time: Option<Timestamp>) -> DateTime<Utc> {
    let time = time.expect("a time");
    let nanos = u32::try_from(time.nanos).unwrap();
    DateTime::from_timestamp(time.seconds, nanos).unwrap()
}

/// Moves the clock to a time, from which it goes on.
fn move_to(t: &Test, time: DateTime<Utc>) {
    t.clock.advance(time - t.clock.now());
}

fn ends(stored: &Session) -> (DateTime<Utc>, DateTime<Utc>) {
    (at(stored.idle_expire_time), at(stored.expire_time))
}

async fn r09_an_idle_session_expires_at_its_time(t: Test) {
    let server = t.start_with(&SHORT).await;
    server.create_with_password("ada@example.com").await;

    // From the very microsecond on.
    let expired = signed_in_again(&server, "ada@example.com").await;
    let (end, _) = ends(&session(&server, &expired.session_id).await.unwrap());
    assert_eq!(at(expired.refresh_token_expire_time), end);
    move_to(&t, end);
    assert!(!server.is_active(&expired.access_token).await);
    let late = server.refresh(&expired.refresh_token).await;
    assert_eq!(reason(&late), "TOKEN_EXPIRED");

    // Until then it works. The clock goes on while the call is under way, so an answer counts only if it came in time.
    let mut closest = TimeDelta::milliseconds(4);
    loop {
        let tokens = signed_in_again(&server, "ada@example.com").await;
        let (idle_end, _) = ends(&session(&server, &tokens.session_id).await.unwrap());
        move_to(&t, idle_end - closest);
        let is_active = server.is_active(&tokens.access_token).await;
        let outcome = server.refresh(&tokens.refresh_token).await;
        if t.clock.now() < idle_end {
            assert!(is_active, "{closest} before");
            assert_eq!(reason(&outcome), "OK", "{closest} before");
            break;
        }
        closest = closest * 2;
    }
}

async fn r09_refreshes_do_not_move_the_absolute_end(t: Test) {
    let server = t.start_with(&SHORT).await;
    let (_, mut tokens) = server.signed_in("ada@example.com").await;
    let (_, end) = ends(&session(&server, &tokens.session_id).await.unwrap());
    assert_eq!(
        end - at(session(&server, &tokens.session_id).await.unwrap().create_time),
        TimeDelta::hours(3)
    );
    for _ in 0..5 {
        server.clock.advance(TimeDelta::minutes(30));
        tokens = server.refresh(&tokens.refresh_token).await.unwrap();
        let stored = ends(&session(&server, &tokens.session_id).await.unwrap());
        assert_eq!(stored.1, end);
        assert!(stored.0 <= end);
        assert_eq!(at(tokens.refresh_token_expire_time), stored.0);
    }
    // Less than an idle lifetime before the end, the two are the same.
    assert_eq!(at(tokens.refresh_token_expire_time), end);
    let stored = count(
        &t,
        "refresh_tokens r JOIN sessions s ON s.id = r.session_id WHERE r.expires_at > s.expires_at",
    );
    assert_eq!(stored.await, 0);

    // Refreshes without a pause, across the end: whatever was answered before it was right, and so after it.
    move_to(&t, end - TimeDelta::milliseconds(40));
    loop {
        let before = t.clock.now();
        let outcome = server.refresh(&tokens.refresh_token).await;
        let after = t.clock.now();
        if after < end {
            assert_eq!(reason(&outcome), "OK", "{} before", end - after);
        }
        if before >= end {
            assert_eq!(reason(&outcome), "TOKEN_EXPIRED", "{} after", before - end);
            break;
        }
        if let Ok(next) = outcome {
            tokens = next;
        }
    }
    assert!(!server.is_active(&tokens.access_token).await);
}

async fn r09_an_access_token_does_not_outlive_its_session(t: Test) {
    let server = t.start_with(&SHORT).await;
    let (_, tokens) = server.signed_in("ada@example.com").await;
    let (idle_end, _) = ends(&session(&server, &tokens.session_id).await.unwrap());
    assert!(at(tokens.access_token_expire_time) > idle_end);
    move_to(&t, idle_end - TimeDelta::milliseconds(40));
    loop {
        let before = t.clock.now();
        let is_active = server.is_active(&tokens.access_token).await;
        let after = t.clock.now();
        if after < idle_end {
            assert!(is_active, "{} before", idle_end - after);
        }
        if before >= idle_end {
            assert!(!is_active, "{} after", before - idle_end);
            break;
        }
    }
}

async fn r09_a_replay_after_the_end_is_only_expired(t: Test) {
    let server = t.start_with(&SHORT).await;
    let (_, first) = server.signed_in("ada@example.com").await;
    let second = server.refresh(&first.refresh_token).await.unwrap();
    let third = server.refresh(&second.refresh_token).await.unwrap();
    server.clock.advance(TimeDelta::hours(1));

    for tokens in [&first, &second, &third] {
        let outcome = server.refresh(&tokens.refresh_token).await;
        assert_eq!(reason(&outcome), "TOKEN_EXPIRED");
    }

    // Nothing was stolen: somebody came back late.
    let stored = session(&server, &first.session_id).await.unwrap();
    assert_eq!(stored.end_time, None);
    let reused = "login_attempts WHERE failure_reason = 'token_reused'";
    assert_eq!(count(&t, reused).await, 0);
}
