//! `RefreshTokens`: rotation, replays, and who is refused.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use identity::proto::identity::v1::{SessionEndReason, Tokens};
use ring::digest::{SHA256, digest};
use tonic::Code;

use crate::session_service::calls::{
    OTHER_PASSWORD, block, count, deactivate, delete, id_in_sql, live_tokens, reactivate, reason,
    refresh_as, revoke, session, set_password, sign_in_to, signed_in_again, unblock,
};
use crate::support::{Backend, Behaviour, Clients, Test, behaviours};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        r01_a_thousand_refreshes_leave_one_live_token_and_their_chain,
        r03_a_replay_ends_the_session_and_is_recorded,
        r03_a_parent_is_repeated_for_a_minute_and_not_longer,
        r07_whoever_is_kept_out_gets_no_tokens,
        r07_whoever_is_kept_out_by_hand_gets_no_tokens,
        r07_a_token_or_session_that_was_removed_by_hand_is_refused,
        r10_a_token_works_for_its_application_only,
        r11_tokens_are_stored_as_digests_only,
        t11_what_is_not_a_refresh_token_is_refused,
    ]
}

/// Exchanges a token `times` times. Returns the tokens, the first included.
async fn chain(clients: &Clients, first: Tokens, times: usize) -> Vec<Tokens> {
    let mut all = vec![first];
    for _ in 0..times {
        let next = clients.refresh(&all[all.len() - 1].refresh_token).await;
        all.push(next.expect("the next tokens"));
    }
    all
}

/// Undoes the end of a session by hand, so that another token of it can be tried.
async fn reopen(t: &Test, session_id: &str) {
    let id = id_in_sql(t, session_id);
    t.sql(&format!(
        "UPDATE sessions SET revoked_at = NULL, revoke_reason = NULL WHERE id = {id};
         UPDATE refresh_tokens SET revoked_at = NULL WHERE session_id = {id} AND used_at IS NULL"
    ))
    .await
    .unwrap();
}

async fn r01_a_thousand_refreshes_leave_one_live_token_and_their_chain(t: Test) {
    const REFRESHES: usize = 1000;
    let server = t.start().await;
    let (_, first) = server.signed_in("ada@example.com").await;
    let session_id = first.session_id.clone();

    let all = chain(&server, first, REFRESHES).await;

    let different: BTreeSet<&str> = all.iter().map(|one| one.refresh_token.as_str()).collect();
    assert_eq!(different.len(), all.len());
    assert!(all.iter().all(|one| one.session_id == session_id));
    // The chain is in the table: every generation once, each used but the last.
    let id = id_in_sql(&t, &session_id);
    let chain = format!(
        "SELECT count(*) AS value FROM refresh_tokens r
         JOIN sessions s ON s.id = r.session_id AND s.user_id = r.user_id
         WHERE s.id = {id} AND r.generation BETWEEN 1 AND s.generation AND r.revoked_at IS NULL
           AND (r.used_at IS NULL) = (r.generation = s.generation)"
    );
    assert_eq!(t.sql_value(&chain).await, Some(all.len().to_string()));
    let generation = "SELECT generation AS value FROM sessions";
    assert_eq!(t.sql_value(generation).await, Some(all.len().to_string()));
    assert_eq!(live_tokens(&t, &session_id).await, 1);

    // Each old token is dead, those that are long used and those that are not.
    let old = (0..REFRESHES - 1).filter(|number| number % 37 == 0 || number + 5 > REFRESHES);
    for number in old {
        let outcome = server.refresh(&all[number].refresh_token).await;
        assert_eq!(reason(&outcome), "TOKEN_REUSED", "token {number}");
        let newest = server.refresh(&all[REFRESHES].refresh_token).await;
        assert_eq!(reason(&newest), "SESSION_ENDED");
        reopen(&t, &session_id).await;
    }
    server.refresh(&all[REFRESHES].refresh_token).await.unwrap();
}

async fn r03_a_replay_ends_the_session_and_is_recorded(t: Test) {
    let server = t.start().await;
    let replica = t.start().await;
    let (user, first) = server.signed_in("ada@example.com").await;
    let other = signed_in_again(&server, "ada@example.com").await;
    let all = chain(&server, first, 2).await;
    let before = count(&t, "login_attempts").await;

    // The grandparent of the newest token, whose successor has been used.
    let outcome = replica.refresh(&all[0].refresh_token).await;

    assert_eq!(outcome.as_ref().unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(reason(&outcome), "TOKEN_REUSED");
    let session_id = &all[0].session_id;
    for tokens in &all {
        let again = server.refresh(&tokens.refresh_token).await;
        assert_eq!(reason(&again), "SESSION_ENDED");
        assert!(!server.is_active(&tokens.access_token).await);
    }
    assert_eq!(live_tokens(&t, session_id).await, 0);
    let ended = session(&server, session_id).await.unwrap();
    assert_eq!(ended.end_reason(), SessionEndReason::TokenReused);
    let attempt = format!(
        "login_attempts WHERE user_id = {} AND method = 'refresh_token' AND NOT success
         AND failure_reason = 'token_reused' AND identifier IS NULL",
        id_in_sql(&t, &user.id)
    );
    assert_eq!(count(&t, &attempt).await, 1);
    assert_eq!(count(&t, "login_attempts").await, before + 1);
    // The other sessions of the user are not suspected.
    assert!(replica.is_active(&other.access_token).await);
    replica.refresh(&other.refresh_token).await.unwrap();
}

async fn r03_a_parent_is_repeated_for_a_minute_and_not_longer(t: Test) {
    let server = t.start().await;
    server.create_with_password("ada@example.com").await;
    let tokens = signed_in_again(&server, "ada@example.com").await;
    let next = server.refresh(&tokens.refresh_token).await.unwrap();
    for _ in 0..5 {
        server.clock.advance(TimeDelta::seconds(8));
        let repeated = server.refresh(&tokens.refresh_token).await.unwrap();
        assert_eq!(repeated.refresh_token, next.refresh_token);
        assert!(server.is_active(&repeated.access_token).await);
    }
    // Repeating does not begin another minute.
    server.clock.advance(TimeDelta::seconds(20));
    server.clock.advance(TimeDelta::microseconds(1));

    let outcome = server.refresh(&tokens.refresh_token).await;

    assert_eq!(reason(&outcome), "TOKEN_REUSED");
    let newest = server.refresh(&next.refresh_token).await;
    assert_eq!(reason(&newest), "SESSION_ENDED");
    assert!(!server.is_active(&next.access_token).await);
    let reused = "login_attempts WHERE failure_reason = 'token_reused'";
    assert_eq!(count(&t, reused).await, 1);
}

/// Checks that neither the newest token nor its parent gets tokens.
async fn assert_refused(t: &Test, clients: &Clients, all: &[Tokens], expected: &str) {
    let before = count(t, "refresh_tokens").await;
    for tokens in all.iter().rev() {
        let outcome = clients.refresh(&tokens.refresh_token).await;
        assert_eq!(reason(&outcome), expected);
        assert_eq!(outcome.unwrap_err().code(), Code::Unauthenticated);
        assert!(!clients.is_active(&tokens.access_token).await);
    }
    assert_eq!(count(t, "refresh_tokens").await, before, "no tokens are minted");
}

async fn r07_whoever_is_kept_out_gets_no_tokens(t: Test) {
    let server = t.start().await;
    let (user, first) = server.signed_in("ada@example.com").await;
    let clients: &Clients = &server;
    let sign_in_again = async || {
        let tokens = signed_in_again(clients, "ada@example.com").await;
        chain(clients, tokens, 1).await
    };

    let of_blocked = chain(clients, first, 1).await;
    block(clients, &user.id).await.unwrap();
    assert_refused(&t, clients, &of_blocked, "SESSION_ENDED").await;
    unblock(clients, &user.id).await.unwrap();

    let of_inactive = sign_in_again().await;
    deactivate(clients, &user.id).await.unwrap();
    assert_refused(&t, clients, &of_inactive, "SESSION_ENDED").await;
    reactivate(clients, &user.id).await.unwrap();

    let revoked = sign_in_again().await;
    revoke(clients, &revoked[0].session_id).await.unwrap();
    assert_refused(&t, clients, &revoked, "SESSION_ENDED").await;

    let with_old_password = sign_in_again().await;
    set_password(clients, &user.id, OTHER_PASSWORD).await.unwrap();
    assert_refused(&t, clients, &with_old_password, "SESSION_ENDED").await;

    let signed_in = clients.sign_in("ada@example.com", OTHER_PASSWORD).await;
    let of_deleted = chain(clients, signed_in.unwrap(), 1).await;
    delete(clients, &user.id).await.unwrap();
    assert_refused(&t, clients, &of_deleted, "TOKEN_INVALID").await;
}

async fn r07_whoever_is_kept_out_by_hand_gets_no_tokens(t: Test) {
    let server = t.start().await;
    let (_, first) = server.signed_in("ada@example.com").await;
    let all = chain(&server, first, 1).await;
    for (column, normal) in [
        ("is_blocked = true", "is_blocked = false"),
        ("is_active = false", "is_active = true"),
    ] {
        t.sql(&format!("UPDATE users SET {column}")).await.unwrap();
        assert_refused(&t, &server, &all, "SESSION_ENDED").await;
        t.sql(&format!("UPDATE users SET {normal}")).await.unwrap();
    }
    t.sql("DELETE FROM users").await.unwrap();
    assert_refused(&t, &server, &all, "TOKEN_INVALID").await;
}

async fn r07_a_token_or_session_that_was_removed_by_hand_is_refused(t: Test) {
    let server = t.start().await;
    server.create_with_password("ada@example.com").await;
    let now = match t.backend {
        Backend::Sqlite => "CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
        Backend::Postgres => "now()",
    };
    for (statement, expected) in [
        (
            format!("UPDATE refresh_tokens SET revoked_at = {now}"),
            "SESSION_ENDED",
        ),
        ("DELETE FROM refresh_tokens".to_owned(), "SESSION_ENDED"),
        ("DELETE FROM sessions".to_owned(), "TOKEN_INVALID"),
    ] {
        let tokens = signed_in_again(&server, "ada@example.com").await;
        t.sql(&statement).await.unwrap();
        let before = count(&t, "refresh_tokens").await;

        let outcome = server.refresh(&tokens.refresh_token).await;

        assert_eq!(reason(&outcome), expected, "{statement}");
        assert_eq!(count(&t, "refresh_tokens").await, before);
    }
}

async fn r10_a_token_works_for_its_application_only(t: Test) {
    let server = t.start().await;
    let user = server.create_with_password("ada@example.com").await;
    let first = sign_in_to(&server, "web", "ada@example.com").await.unwrap();
    let second = refresh_as(&server, "web", &first.refresh_token).await.unwrap();
    let third = refresh_as(&server, "web", &second.refresh_token).await.unwrap();
    let claims = server.introspect(&third.access_token).await.unwrap();
    assert_eq!(claims.client_id, "web");

    let mut refused = 0;
    for client_id in ["app", "", "WEB", "web2", "default"] {
        // The live token, one that would be repeated, and one whose replay would end the session.
        for tokens in [&third, &second, &first] {
            let outcome = refresh_as(&server, client_id, &tokens.refresh_token).await;
            assert_eq!(outcome.as_ref().unwrap_err().code(), Code::Unauthenticated);
            assert_eq!(reason(&outcome), "TOKEN_INVALID", "{client_id}");
            refused += 1;
        }
    }

    let recorded = format!(
        "login_attempts WHERE user_id = {} AND method = 'refresh_token' AND NOT success
         AND failure_reason = 'wrong_client'",
        id_in_sql(&t, &user.id)
    );
    assert_eq!(count(&t, &recorded).await, refused);
    assert!(server.is_active(&third.access_token).await);
    let untouched = session(&server, &first.session_id).await.unwrap();
    assert_eq!(untouched.end_time, None);
    assert_eq!(live_tokens(&t, &first.session_id).await, 1);
    let fourth = refresh_as(&server, "web", &third.refresh_token).await.unwrap();
    assert!(server.is_active(&fourth.access_token).await);

    // Whoever names no application is one, too.
    let plain = signed_in_again(&server, "ada@example.com").await;
    let outcome = refresh_as(&server, "web", &plain.refresh_token).await;
    assert_eq!(reason(&outcome), "TOKEN_INVALID");
    refresh_as(&server, "default", &plain.refresh_token)
        .await
        .unwrap();
}

/// Returns everything that the database has stored, as one text.
async fn everything_stored(t: &Test) -> String {
    if t.backend == Backend::Sqlite {
        let url = t.database_url();
        let path = url.strip_prefix("sqlite://").unwrap();
        let mut bytes = std::fs::read(path).unwrap();
        bytes.extend(std::fs::read(format!("{path}-wal")).unwrap_or_default());
        return bytes.iter().map(|byte| char::from(*byte)).collect();
    }
    let tables = t
        .sql_values("SELECT tablename AS value FROM pg_tables WHERE schemaname = 'public'")
        .await;
    let mut text = String::new();
    for table in tables.into_iter().flatten() {
        let rows = t
            .sql_values(&format!(
                "SELECT stored::text AS value FROM \"{table}\" AS stored"
            ))
            .await;
        text.extend(rows.into_iter().flatten());
    }
    text
}

async fn r11_tokens_are_stored_as_digests_only(t: Test) {
    use base64::Engine as _;
    let server = t.start().await;
    let (_, first) = server.signed_in("ada@example.com").await;
    let all = chain(&server, first, 3).await;

    let hash = match t.backend {
        Backend::Sqlite => "lower(hex(token_hash))",
        Backend::Postgres => "encode(token_hash, 'hex')",
    };
    let stored = t
        .sql_values(&format!(
            "SELECT {hash} AS value FROM refresh_tokens ORDER BY generation"
        ))
        .await;
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    let digests: Vec<Option<String>> = all
        .iter()
        .map(|tokens| Some(hex(digest(&SHA256, tokens.refresh_token.as_bytes()).as_ref())))
        .collect();
    assert_eq!(stored, digests);

    let everything = everything_stored(&t).await;
    assert!(everything.contains("ada@example.com"), "the right place was read");
    for tokens in &all {
        let encoded = tokens.refresh_token.strip_prefix("idr_").expect("the prefix");
        let decoded = base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(encoded)
            .unwrap();
        assert_eq!(decoded.len(), 16 + 8 + 32, "session, generation and 256 bits");
        let secret = &decoded[24..];
        let raw: String = secret.iter().map(|byte| char::from(*byte)).collect();
        for form in [&encoded[32..], &hex(secret), &raw, &tokens.access_token] {
            assert!(!everything.contains(form), "the token is stored");
        }
    }
}

async fn t11_what_is_not_a_refresh_token_is_refused(t: Test) {
    let server = t.start().await;
    let (_, tokens) = server.signed_in("ada@example.com").await;
    let token = tokens.refresh_token.as_str();

    for garbage in [
        "garbage",
        "idr_",
        &token[..token.len() - 1],
        &token[..20],
        &token[4..],
        &format!("{token}A"),
        &format!("{token}="),
        &format!("{token}\n"),
        &token.to_uppercase(),
        &tokens.access_token,
    ] {
        let outcome = server.refresh(garbage).await;
        assert_eq!(outcome.as_ref().unwrap_err().code(), Code::Unauthenticated);
        assert_eq!(reason(&outcome), "TOKEN_INVALID", "{garbage}");
    }
    for (malformed, expected) in [
        (String::new(), "FIELD_REQUIRED"),
        ("x".repeat(4097), "VALUE_OUT_OF_RANGE"),
    ] {
        let failure = server.refresh(&malformed).await.unwrap_err();
        assert_eq!(failure.code(), Code::InvalidArgument);
        assert_eq!(
            failure.fields(),
            [("refresh_token".to_owned(), expected.to_owned())]
        );
    }
    server.refresh(token).await.unwrap();
}
