//! Exchanges of refresh tokens whose answer never arrives.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use identity::proto::identity::v1::Tokens;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::session_service::calls::{count, live_tokens, reason, session};
use crate::support::{Behaviour, Clients, PASSWORD, Test, behaviours};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        r05_an_exchange_can_be_repeated_after_a_crash,
        r05_a_crash_amid_exchanges_signs_nobody_out,
        r05_an_exchange_can_be_repeated_by_whoever_gave_up,
        r05_a_call_that_its_own_repetition_overtook_ends_no_session,
    ]
}

async fn r05_an_exchange_can_be_repeated_after_a_crash(t: Test) {
    let mut killed = t.spawn(&[], &["serve"]);
    killed.wait_until_serving().await;
    let (_, tokens) = killed.signed_in("ada@example.com").await;
    let next = killed.refresh(&tokens.refresh_token).await.unwrap();
    killed.kill_9();

    let mut server = t.spawn(&[], &["serve"]);
    server.wait_until_serving().await;
    let repeated = server.refresh(&tokens.refresh_token).await.unwrap();

    assert_eq!(repeated.refresh_token, next.refresh_token);
    assert_eq!(repeated.session_id, next.session_id);
    assert!(server.is_active(&next.access_token).await);
    assert!(server.is_active(&repeated.access_token).await);
    assert_eq!(live_tokens(&t, &tokens.session_id).await, 1);
    let last = server.refresh(&repeated.refresh_token).await.unwrap();
    // Its successor has been used: now it is a replay.
    let replay = server.refresh(&tokens.refresh_token).await;
    assert_eq!(reason(&replay), "TOKEN_REUSED");
    let newest = server.refresh(&last.refresh_token).await;
    assert_eq!(reason(&newest), "SESSION_ENDED");
}

/// Exchanges tokens until a call fails, and returns those whose exchange was not answered.
async fn refresh_until_lost(
    clients: Clients,
    mut tokens: Tokens,
    answered: Arc<watch::Sender<usize>>,
) -> Tokens {
    while let Ok(next) = clients.refresh(&tokens.refresh_token).await {
        tokens = next;
        answered.send_modify(|count| *count += 1);
    }
    tokens
}

async fn r05_a_crash_amid_exchanges_signs_nobody_out(t: Test) {
    const KILLS: usize = 8;
    const USERS: usize = 6;
    let mut server = t.spawn(&[], &["serve"]);
    server.wait_until_serving().await;
    let mut sessions: Vec<Tokens> = Vec::new();
    for number in 0..USERS {
        sessions.push(server.signed_in(&format!("ada{number}@example.com")).await.1);
    }
    for kill in 0..KILLS {
        let (count, mut progress) = watch::channel(0);
        let count = Arc::new(count);
        let mut callers = JoinSet::new();
        for tokens in sessions {
            let clients: Clients = (*server).clone();
            callers.spawn(refresh_until_lost(clients, tokens, Arc::clone(&count)));
        }
        // Some more each time, so that the kill does not always hit the same moment.
        let enough = 30 + kill;
        progress.wait_for(|answered| *answered >= enough).await.unwrap();
        server.kill_9();
        let unanswered = callers.join_all().await;

        server = t.spawn(&[], &["serve"]);
        server.wait_until_serving().await;
        sessions = Vec::new();
        for tokens in unanswered {
            // Whether the kill came before or after the commit.
            let next = server.refresh(&tokens.refresh_token).await.unwrap();
            assert_eq!(next.session_id, tokens.session_id);
            assert!(server.is_active(&next.access_token).await);
            assert_eq!(live_tokens(&t, &next.session_id).await, 1);
            sessions.push(next);
        }
    }
    assert_eq!(count(&t, "sessions WHERE revoked_at IS NOT NULL").await, 0);
    assert_eq!(count(&t, "login_attempts WHERE NOT success").await, 0);
}

async fn r05_an_exchange_can_be_repeated_by_whoever_gave_up(t: Test) {
    const EXCHANGES: u64 = 200;
    let server = t.start().await;
    let (_, mut tokens) = server.signed_in("ada@example.com").await;
    let session_id = tokens.session_id.clone();
    let mut unanswered = 0;
    for number in 0..EXCHANGES {
        // The caller goes away at any moment from before the call to after the answer.
        let patience = Duration::from_micros(number % 40 * 200);
        let given_up = timeout(patience, server.refresh(&tokens.refresh_token)).await;
        let next = server.refresh(&tokens.refresh_token).await.unwrap();
        match given_up {
            Ok(answer) => assert_eq!(answer.unwrap().refresh_token, next.refresh_token),
            Err(_) => unanswered += 1,
        }
        assert_ne!(next.refresh_token, tokens.refresh_token);
        tokens = next;
    }
    assert!(unanswered > 0, "nobody gave up");
    assert_eq!(live_tokens(&t, &session_id).await, 1);
    let generation = "SELECT generation AS value FROM sessions";
    assert_eq!(t.sql_value(generation).await, Some((EXCHANGES + 1).to_string()));
    assert_eq!(session(&server, &session_id).await.unwrap().end_time, None);
    server.sign_in("ada@example.com", PASSWORD).await.unwrap();
}

async fn r05_a_call_that_its_own_repetition_overtook_ends_no_session(t: Test) {
    let server = t.start().await;
    let (_, first) = server.signed_in("ada@example.com").await;
    let step = TimeDelta::seconds(10);
    server.clock.advance(step);
    let second = server.refresh(&first.refresh_token).await.unwrap();
    server.clock.advance(step);
    let third = server.refresh(&second.refresh_token).await.unwrap();

    // It came after the first exchange and before the second one, and is decided only now.
    server.clock.advance(-step / 2);
    let late = server.refresh(&first.refresh_token).await;
    assert_eq!(reason(&late), "TOKEN_REUSED");
    assert!(server.is_active(&third.access_token).await);
    assert_eq!(live_tokens(&t, &first.session_id).await, 1);
    assert_eq!(count(&t, "login_attempts WHERE NOT success").await, 0);

    // What comes after the second exchange is a replay.
    server.clock.advance(step);
    let replay = server.refresh(&first.refresh_token).await;
    assert_eq!(reason(&replay), "TOKEN_REUSED");
    assert!(!server.is_active(&third.access_token).await);
    assert_eq!(live_tokens(&t, &first.session_id).await, 0);
}
