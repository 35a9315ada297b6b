//! `RefreshTokens` at the same time as itself, and as whatever ends sessions.

use std::env;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::{join_all, join3};
use identity::proto::identity::v1::Tokens;
use tonic::Code;

use crate::session_service::calls::{
    PATIENT, block, count, deactivate, live_tokens, reactivate, reason, revoke, revoke_all, session,
    sign_out, signed_in_again, unblock,
};
use crate::support::{Behaviour, Clients, PASSWORD, Test, TestServer, behaviours, postgres_only};

pub fn tests() -> Vec<Behaviour> {
    [
        behaviours![
            r02_of_a_hundred_parallel_refreshes_one_successor_comes,
            r02_of_a_hundred_parallel_refreshes_on_three_servers_one_successor_comes,
            r02_parallel_replays_end_the_session_once,
            r08_no_token_outlives_signing_out,
            r08_no_token_outlives_the_revocation_of_its_session,
            r08_no_token_outlives_the_revocation_of_all_sessions,
            c04_no_token_outlives_a_block,
            c04_no_token_outlives_a_deactivation,
        ],
        postgres_only![c08_serialization_failures_of_refreshes_are_tried_again],
    ]
    .concat()
}

/// How many callers present the same token at once.
const CALLERS: usize = 100;

/// How often: enough to notice a race that is wide open. `IDENTITY_TEST_REFRESH_ROUNDS` asks for more.
const ROUNDS: usize = 20;

fn rounds() -> usize {
    env::var("IDENTITY_TEST_REFRESH_ROUNDS").map_or(ROUNDS, |text| text.parse().expect("a number"))
}

/// Exchanges one token a hundred times at once, then its successor, and so on.
async fn refresh_in_parallel(t: &Test, servers: &[TestServer]) {
    let (_, mut tokens) = servers[0].signed_in("ada@example.com").await;
    for round in 1..=rounds() {
        let presented = &tokens.refresh_token;
        let outcomes = join_all((0..CALLERS).map(|number| {
            let clients: &Clients = &servers[number % servers.len()];
            clients.refresh(presented)
        }))
        .await;

        let answers: Vec<Tokens> = outcomes
            .into_iter()
            .map(|outcome| outcome.expect("nobody is signed out"))
            .collect();
        assert!(
            answers
                .iter()
                .all(|answer| answer.refresh_token == answers[0].refresh_token),
            "more than one successor in round {round}"
        );
        // They tell what is stored of the successor, not what each of them would have stored.
        let idle_end = answers[0].refresh_token_expire_time;
        assert!(
            answers
                .iter()
                .all(|answer| answer.refresh_token_expire_time == idle_end)
        );
        assert_ne!(answers[0].refresh_token, tokens.refresh_token);
        assert_eq!(live_tokens(t, &tokens.session_id).await, 1);
        let rows = i64::try_from(round + 1).unwrap();
        assert_eq!(count(t, "refresh_tokens").await, rows);
        for answer in [&answers[0], &answers[CALLERS - 1]] {
            assert!(servers[0].is_active(&answer.access_token).await);
        }
        tokens = answers[0].clone();
    }
    let stored = session(&servers[0], &tokens.session_id).await.unwrap();
    assert_eq!(stored.end_time, None);
    assert_eq!(count(t, "login_attempts WHERE NOT success").await, 0);
    servers[0].refresh(&tokens.refresh_token).await.unwrap();
}

async fn r02_of_a_hundred_parallel_refreshes_one_successor_comes(t: Test) {
    let servers = [t.start_with(&PATIENT).await];
    refresh_in_parallel(&t, &servers).await;
}

async fn r02_of_a_hundred_parallel_refreshes_on_three_servers_one_successor_comes(t: Test) {
    let servers = [
        t.start_with(&PATIENT).await,
        t.start_with(&PATIENT).await,
        t.start_with(&PATIENT).await,
    ];
    refresh_in_parallel(&t, &servers).await;
}

async fn r02_parallel_replays_end_the_session_once(t: Test) {
    let servers = [t.start_with(&PATIENT).await, t.start_with(&PATIENT).await];
    let (_, first) = servers[0].signed_in("ada@example.com").await;
    let second = servers[0].refresh(&first.refresh_token).await.unwrap();
    servers[0].refresh(&second.refresh_token).await.unwrap();

    let outcomes = join_all((0..50).map(|number| {
        let clients: &Clients = &servers[number % 2];
        clients.refresh(&first.refresh_token)
    }))
    .await;

    let reasons: Vec<String> = outcomes.iter().map(reason).collect();
    let reused = reasons.iter().filter(|reason| *reason == "TOKEN_REUSED").count();
    let ended = reasons.iter().filter(|reason| *reason == "SESSION_ENDED").count();
    assert_eq!((reused, ended), (1, 49), "{reasons:?}");
    let recorded = "login_attempts WHERE failure_reason = 'token_reused'";
    assert_eq!(count(&t, recorded).await, 1);
    assert_eq!(live_tokens(&t, &first.session_id).await, 0);
}

/// What ends a session.
#[derive(Debug, Clone, Copy)]
enum End {
    SignOut,
    Revoke,
    RevokeAll,
    Block,
    Deactivate,
}

impl End {
    async fn make(self, clients: &Clients, user_id: &str, tokens: &Tokens) {
        let outcome = match self {
            Self::SignOut => sign_out(clients, &tokens.refresh_token, false).await.map(drop),
            Self::Revoke => revoke(clients, &tokens.session_id).await.map(drop),
            Self::RevokeAll => revoke_all(clients, user_id).await.map(drop),
            Self::Block => block(clients, user_id).await,
            Self::Deactivate => deactivate(clients, user_id).await,
        };
        outcome.expect("the session ends");
    }

    /// Lets the user sign in again.
    async fn undo(self, clients: &Clients, user_id: &str) {
        match self {
            Self::SignOut | Self::Revoke | Self::RevokeAll => {}
            Self::Block => unblock(clients, user_id).await.unwrap(),
            Self::Deactivate => reactivate(clients, user_id).await.unwrap(),
        }
    }
}

/// Goes on refreshing until refused. Returns every token that came. What is asked after the end must be refused.
async fn refresh_until_refused(
    servers: &[TestServer; 2],
    first: &Tokens,
    has_ended: &AtomicBool,
) -> Vec<Tokens> {
    let mut all = vec![first.clone()];
    loop {
        let is_after_the_end = has_ended.load(Ordering::SeqCst);
        let presented = all[all.len() - 1].refresh_token.clone();
        let outcomes = join_all((0..3).map(|number| {
            let clients: &Clients = &servers[number % 2];
            clients.refresh(&presented)
        }))
        .await;
        let is_refused = outcomes.iter().any(Result::is_err);
        for outcome in outcomes {
            match outcome {
                Ok(_) if is_after_the_end => panic!("refreshed after the end"),
                Ok(tokens) => all.push(tokens),
                Err(failure) => {
                    assert_eq!(failure.code(), Code::Unauthenticated, "{failure:?}");
                    assert_eq!(failure.reason(), "SESSION_ENDED");
                }
            }
        }
        if is_refused {
            return all;
        }
    }
}

/// Goes on asking whether a token is good until it is not. What is asked after the end must be denied.
async fn introspect_until_inactive(clients: &Clients, tokens: &Tokens, has_ended: &AtomicBool) {
    loop {
        let is_after_the_end = has_ended.load(Ordering::SeqCst);
        let is_active = clients.is_active(&tokens.access_token).await;
        assert!(!(is_active && is_after_the_end), "active after the end");
        if !is_active {
            return;
        }
    }
}

/// Ends sessions that are being refreshed, on another server.
async fn race(t: Test, end: End) {
    const SESSIONS: usize = 100;
    let servers = [t.start_with(&PATIENT).await, t.start_with(&PATIENT).await];
    let user = servers[0].create_with_password("ada@example.com").await;
    let mut refreshed = 0;
    for number in 0..SESSIONS {
        let first = signed_in_again(&servers[0], "ada@example.com").await;
        let has_ended = AtomicBool::new(false);
        let ending = async {
            // Not always at the same moment: some calls of another kind go first.
            for _ in 0..number % 6 {
                servers[1].get(&user.id).await.unwrap();
            }
            end.make(&servers[1], &user.id, &first).await;
            has_ended.store(true, Ordering::SeqCst);
        };

        let (all, (), ()) = join3(
            refresh_until_refused(&servers, &first, &has_ended),
            introspect_until_inactive(&servers[0], &first, &has_ended),
            ending,
        )
        .await;

        refreshed += all.len() - 1;
        assert_eq!(live_tokens(&t, &first.session_id).await, 0);
        if number % 2 == 0 {
            end.undo(&servers[0], &user.id).await;
        }
        for (index, tokens) in all.iter().enumerate() {
            let clients = &servers[index % 2];
            let outcome = clients.refresh(&tokens.refresh_token).await;
            assert_eq!(reason(&outcome), "SESSION_ENDED");
            assert!(!clients.is_active(&tokens.access_token).await);
        }
        end.undo(&servers[0], &user.id).await;
    }
    // Otherwise the two did not meet.
    assert!(refreshed > SESSIONS / 2, "{refreshed} refreshes");
    let orphaned = "refresh_tokens r JOIN sessions s ON s.id = r.session_id
                    WHERE s.revoked_at IS NOT NULL AND r.used_at IS NULL AND r.revoked_at IS NULL";
    assert_eq!(count(&t, orphaned).await, 0);
}

async fn r08_no_token_outlives_signing_out(t: Test) {
    race(t, End::SignOut).await;
}

async fn r08_no_token_outlives_the_revocation_of_its_session(t: Test) {
    race(t, End::Revoke).await;
}

async fn r08_no_token_outlives_the_revocation_of_all_sessions(t: Test) {
    race(t, End::RevokeAll).await;
}

async fn c04_no_token_outlives_a_block(t: Test) {
    race(t, End::Block).await;
}

async fn c04_no_token_outlives_a_deactivation(t: Test) {
    race(t, End::Deactivate).await;
}

async fn c08_serialization_failures_of_refreshes_are_tried_again(t: Test) {
    let url = format!(
        "{}?options=-c%20default_transaction_isolation%3Dserializable",
        t.database_url()
    );
    let settings = [PATIENT.as_slice(), &[("DATABASE_URL", &url)]].concat();
    let servers = [t.start_with(&settings).await, t.start_with(&settings).await];
    let (_, mut tokens) = servers[0].signed_in("ada@example.com").await;
    for _ in 0..5 {
        let presented = &tokens.refresh_token;
        let refreshes = join_all((0..20).map(|number| servers[number % 2].refresh(presented)));
        let sign_ins =
            join_all((0..6).map(|number| servers[number % 2].sign_in("ada@example.com", PASSWORD)));

        let (refreshes, sign_ins, ()) = join3(refreshes, sign_ins, async {}).await;

        let mut successors: Vec<Tokens> = Vec::new();
        for outcome in refreshes.into_iter().chain(sign_ins) {
            match outcome {
                Ok(answer) => successors.push(answer),
                Err(failure) => {
                    assert_eq!(failure.code(), Code::Aborted, "{failure:?}");
                    assert_eq!(failure.reason(), "CONCURRENT_CHANGE");
                    assert!(failure.retry_delay().is_some());
                }
            }
        }
        successors.retain(|answer| answer.session_id == tokens.session_id);
        // Whatever came of the others, the exchange can be repeated.
        let repeated = servers[1].refresh(presented).await.unwrap();
        assert!(
            successors
                .iter()
                .all(|answer| answer.refresh_token == repeated.refresh_token)
        );
        assert_eq!(live_tokens(&t, &tokens.session_id).await, 1);
        tokens = repeated;
    }
}
