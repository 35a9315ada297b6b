//! A user with thousands of sessions, which is how many somebody makes who signs in from a script.

use std::collections::BTreeSet;

use identity::proto::identity::v1::SessionEndReason;

use super::calls::{count, id_in_sql, reason, revoke_all, session, session_ids, signed_in_again};
use crate::support::{Backend, Behaviour, Test, behaviours};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        r12_ten_thousand_sessions_are_listed_and_ended,
        r12_a_limit_that_was_lowered_ends_any_number_of_sessions,
    ]
}

/// Inserts so many sessions of a user by hand, each with a live refresh token. Every tenth has expired, and the one
/// after it was revoked.
pub(super) async fn insert(t: &Test, user_id: &str, count: usize) {
    let user = id_in_sql(t, user_id);
    let statements = match t.backend {
        Backend::Sqlite => format!(
            "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count}),
                  now(t) AS (SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER))
             INSERT INTO sessions (id, user_id, client_id, method, last_refresh_at, idle_expires_at,
                                   expires_at, revoked_at, revoke_reason, created_at)
             SELECT randomblob(16), {user}, 'default', 'password', t - n * 1000000,
                    t + CASE WHEN n % 10 = 0 THEN -1000000 ELSE 86400000000 END, t + 86400000000,
                    CASE WHEN n % 10 = 1 THEN t END, CASE WHEN n % 10 = 1 THEN 'revoked' END,
                    t - n * 1000000
             FROM numbers, now;
             INSERT INTO refresh_tokens (id, session_id, user_id, generation, token_hash, expires_at)
             SELECT randomblob(16), id, user_id, 1, randomblob(32), idle_expires_at FROM sessions
             WHERE revoked_at IS NULL AND id NOT IN (SELECT session_id FROM refresh_tokens);"
        ),
        Backend::Postgres => format!(
            "INSERT INTO sessions (id, user_id, client_id, method, last_refresh_at, idle_expires_at,
                                   expires_at, revoked_at, revoke_reason, created_at)
             SELECT gen_random_uuid(), {user}, 'default', 'password', now() - n * interval '1 s',
                    now() + CASE WHEN n % 10 = 0 THEN - interval '1 s' ELSE interval '1 day' END,
                    now() + interval '1 day',
                    CASE WHEN n % 10 = 1 THEN now() END, CASE WHEN n % 10 = 1 THEN 'revoked' END,
                    now() - n * interval '1 s'
             FROM generate_series(1, {count}) AS n;
             INSERT INTO refresh_tokens (session_id, user_id, generation, token_hash, expires_at)
             SELECT id, user_id, 1, sha256(id::text::bytea), idle_expires_at FROM sessions s
             WHERE revoked_at IS NULL
               AND NOT EXISTS (SELECT FROM refresh_tokens r WHERE r.session_id = s.id);"
        ),
    };
    t.sql(&statements).await.unwrap();
    // Both databases choose their plans by what they know of a table.
    t.sql("ANALYZE").await.unwrap();
}

async fn r12_ten_thousand_sessions_are_listed_and_ended(t: Test) {
    const SESSIONS: usize = 10_000;
    let server = t.start().await;
    let ada = server.create_with_password("ada@example.com").await;
    let (_, others) = server.signed_in("bob@example.com").await;
    insert(&t, &ada.id, SESSIONS).await;

    let live = session_ids(&server, &ada.id, false).await;
    assert_eq!(live.len(), 8 * SESSIONS / 10);
    assert_eq!(
        live.iter().collect::<BTreeSet<_>>().len(),
        live.len(),
        "each once"
    );
    let everything = session_ids(&server, &ada.id, true).await;
    assert_eq!(everything.len(), SESSIONS);

    let ended = revoke_all(&server, &ada.id).await.unwrap();

    assert_eq!(usize::try_from(ended).unwrap(), live.len());
    assert_eq!(session_ids(&server, &ada.id, false).await, Vec::<String>::new());
    assert_eq!(session_ids(&server, &ada.id, true).await, everything);
    let user = id_in_sql(&t, &ada.id);
    let live_tokens =
        format!("refresh_tokens WHERE user_id = {user} AND used_at IS NULL AND revoked_at IS NULL");
    assert_eq!(count(&t, &live_tokens).await, 0);
    server.refresh(&others.refresh_token).await.unwrap();
}

async fn r12_a_limit_that_was_lowered_ends_any_number_of_sessions(t: Test) {
    /// More than SQLite takes parameters in one statement, of those that are live.
    const SESSIONS: usize = 42_000;
    // It takes as long as it takes.
    let patient = [
        ("IDENTITY_MAX_DEADLINE", "60s"),
        ("IDENTITY_DATABASE_STATEMENT_TIMEOUT", "60s"),
    ];
    let server = t.start_with(&patient).await;
    let ada = server.create_with_password("ada@example.com").await;
    insert(&t, &ada.id, SESSIONS).await;

    let tokens = signed_in_again(&server, "ada@example.com").await;

    assert!(server.is_active(&tokens.access_token).await);
    let live = session_ids(&server, &ada.id, false).await;
    assert_eq!(live.len(), 100);
    assert_eq!(live[0], tokens.session_id);
    let live_tokens = "refresh_tokens WHERE used_at IS NULL AND revoked_at IS NULL
                       AND session_id NOT IN (SELECT id FROM sessions WHERE revoked_at IS NOT NULL)";
    let expired = SESSIONS / 10;
    let expected = i64::try_from(live.len() + expired).unwrap();
    assert_eq!(count(&t, live_tokens).await, expected);
    let orphaned = "refresh_tokens r JOIN sessions s ON s.id = r.session_id
                    WHERE s.revoked_at IS NOT NULL AND r.used_at IS NULL AND r.revoked_at IS NULL";
    assert_eq!(count(&t, orphaned).await, 0);
    let by_limit = count(&t, "sessions WHERE revoke_reason = 'session_limit'").await;
    assert_eq!(
        by_limit,
        i64::try_from(8 * SESSIONS / 10 + 1 - live.len()).unwrap()
    );
    let newest = session(&server, &live[0]).await.unwrap();
    assert_eq!(newest.end_reason(), SessionEndReason::Unspecified);
    let outcome = server.refresh(&tokens.refresh_token).await;
    assert_eq!(reason(&outcome), "OK");
}
