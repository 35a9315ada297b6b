//! `CreatePasswordReset`, `ConfirmPasswordReset`: a token sets a password once.

use chrono::TimeDelta;
use futures_util::future::join_all;
use identity::proto::identity::v1::User;
use tonic::Code;

use super::calls::{
    OTHER_PASSWORD, PATIENT, confirm_reset, confirm_verification, create_reset, create_verification,
    stored_hash,
};
use crate::support::{Backend, Behaviour, Clients, PASSWORD, Test, behaviours};
use crate::user_service::calls::{Change, Method, NOBODY, assert_failed, count, update};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        p10_a_reset_ends_every_session,
        p15_a_token_works_once,
        p15_of_fifty_parallel_confirmations_one_is_carried_out,
        p15_a_token_expires,
        p15_an_altered_token_is_nobodys,
        p15_a_newer_token_takes_the_place_of_the_earlier,
        p15_a_token_does_not_survive_a_change_of_the_email,
        p15_a_token_is_for_one_purpose,
        p15_a_token_of_a_deleted_user_is_nobodys,
        p15_a_refused_password_does_not_use_the_token_up,
        a_token_is_kept_as_a_digest_only,
        a_reset_opens_no_lock,
        nobody_gets_no_token,
    ]
}

const EMAIL: &str = "ada@example.com";

async fn assert_token_fails(clients: &Clients, token: &str, reason: &str) {
    let before = clients.computed_hashes().await;
    assert_failed(
        confirm_reset(clients, token, OTHER_PASSWORD).await,
        Code::Unauthenticated,
        reason,
    );
    assert_eq!(
        clients.computed_hashes().await,
        before,
        "nothing is hashed for it"
    );
}

async fn p10_a_reset_ends_every_session(t: Test) {
    let server = t.start().await;
    let (user, tokens) = server.signed_in(EMAIL).await;
    let token = create_reset(&server, &user.id).await.unwrap();
    assert!(
        server.is_active(&tokens.access_token).await,
        "asking ends nothing"
    );

    let changed = confirm_reset(&server, &token, OTHER_PASSWORD).await.unwrap();

    assert!(changed.password_set);
    assert!(!server.is_active(&tokens.access_token).await);
    server.refresh(&tokens.refresh_token).await.unwrap_err();
    server.sign_in(EMAIL, PASSWORD).await.unwrap_err();
    server.sign_in(EMAIL, OTHER_PASSWORD).await.unwrap();
}

async fn p15_a_token_works_once(t: Test) {
    let server = t.start().await;
    let user = server.create_with_password(EMAIL).await;
    let token = create_reset(&server, &user.id).await.unwrap();
    confirm_reset(&server, &token, "the first new password")
        .await
        .unwrap();

    assert_token_fails(&server, &token, "TOKEN_REUSED").await;
    let next = create_reset(&server, &user.id).await.unwrap();
    assert_token_fails(&server, &token, "TOKEN_REUSED").await;

    server.sign_in(EMAIL, "the first new password").await.unwrap();
    confirm_reset(&server, &next, OTHER_PASSWORD).await.unwrap();
}

async fn p15_of_fifty_parallel_confirmations_one_is_carried_out(t: Test) {
    let servers = [t.start_with(&PATIENT).await, t.start_with(&PATIENT).await];
    let user = servers[0].create_with_password(EMAIL).await;
    let token = create_reset(&servers[0], &user.id).await.unwrap();
    let passwords: Vec<String> = (0..50)
        .map(|number| format!("the new password {number}"))
        .collect();

    let confirmations = passwords
        .iter()
        .enumerate()
        .map(|(number, password)| confirm_reset(&servers[number % 2], &token, password));
    let outcomes = join_all(confirmations).await;

    let mut winners = Vec::new();
    for (password, outcome) in passwords.iter().zip(outcomes) {
        match outcome {
            Ok(_) => winners.push(password),
            Err(failure) => assert_eq!(failure.reason(), "TOKEN_REUSED", "{failure:?}"),
        }
    }
    assert_eq!(winners.len(), 1);
    servers[1].sign_in(EMAIL, winners[0]).await.unwrap();
    assert!(servers[0].get(&user.id).await.unwrap().password_set);
}

async fn p15_a_token_expires(t: Test) {
    let server = t.start().await;
    let user = server.create_with_password(EMAIL).await;
    let token = create_reset(&server, &user.id).await.unwrap();

    server.clock.advance(TimeDelta::hours(1));
    assert_token_fails(&server, &token, "TOKEN_EXPIRED").await;

    let next = create_reset(&server, &user.id).await.unwrap();
    assert_token_fails(&server, &token, "TOKEN_INVALID").await;
    server.clock.advance(TimeDelta::minutes(59));
    confirm_reset(&server, &next, OTHER_PASSWORD).await.unwrap();
    server.clock.advance(TimeDelta::minutes(2));
    assert_token_fails(&server, &next, "TOKEN_REUSED").await;
}

async fn p15_an_altered_token_is_nobodys(t: Test) {
    let server = t.start().await;
    let user = server.create_with_password(EMAIL).await;
    let token = create_reset(&server, &user.id).await.unwrap();
    let (tokens_end, middle) = (token.len() - 1, token.len() / 2);
    let other = if token.as_bytes()[middle] == b'A' {
        "B"
    } else {
        "A"
    };
    for altered in [
        token[..tokens_end].to_owned(),
        token[1..].to_owned(),
        token[4..].to_owned(),
        format!("{token}="),
        format!("{token}A"),
        format!(" {token}"),
        format!("{token}\n"),
        token.to_uppercase(),
        format!("{}{other}{}", &token[..middle], &token[middle + 1..]),
        "ido_".to_owned(),
        "' OR 1=1 --".to_owned(),
        "x".repeat(4096),
    ] {
        assert_token_fails(&server, &altered, "TOKEN_INVALID").await;
    }
    let failure = confirm_reset(&server, &"x".repeat(4097), OTHER_PASSWORD)
        .await
        .unwrap_err();
    assert_eq!(failure.code(), Code::InvalidArgument);
    confirm_reset(&server, &token, OTHER_PASSWORD).await.unwrap();
}

async fn p15_a_newer_token_takes_the_place_of_the_earlier(t: Test) {
    let server = t.start().await;
    let user = server.create_with_password(EMAIL).await;
    let bob = server.create_with_password("bob@example.com").await;
    let of_bob = create_reset(&server, &bob.id).await.unwrap();
    let first = create_reset(&server, &user.id).await.unwrap();
    let second = create_reset(&server, &user.id).await.unwrap();

    assert_token_fails(&server, &first, "TOKEN_INVALID").await;
    let changed = confirm_reset(&server, &second, OTHER_PASSWORD).await.unwrap();
    assert_eq!(changed.id, user.id);
    let changed_too = confirm_reset(&server, &of_bob, OTHER_PASSWORD).await.unwrap();
    assert_eq!(changed_too.id, bob.id);
}

async fn p15_a_token_does_not_survive_a_change_of_the_email(t: Test) {
    let server = t.start().await;
    let user = server.create_with_password(EMAIL).await;
    let token = create_reset(&server, &user.id).await.unwrap();
    let moved = User {
        id: user.id.clone(),
        email: "ada@elsewhere.example".to_owned(),
        ..User::default()
    };
    update(&server, moved, &["email"]).await.unwrap();

    assert_token_fails(&server, &token, "TOKEN_INVALID").await;
    server.sign_in("ada@elsewhere.example", PASSWORD).await.unwrap();
}

async fn p15_a_token_is_for_one_purpose(t: Test) {
    let server = t.start().await;
    let (user, tokens) = server.signed_in(EMAIL).await;
    let reset = create_reset(&server, &user.id).await.unwrap();
    let verification = create_verification(&server, &user.id).await.unwrap().token;

    for token in [&verification, &tokens.refresh_token, &tokens.access_token] {
        assert_token_fails(&server, token, "TOKEN_INVALID").await;
    }
    assert_failed(
        confirm_verification(&server, &reset, "").await,
        Code::Unauthenticated,
        "TOKEN_INVALID",
    );
    server.refresh(&reset).await.unwrap_err();
    // Neither was used up by it.
    confirm_verification(&server, &verification, "").await.unwrap();
    confirm_reset(&server, &reset, OTHER_PASSWORD).await.unwrap();
}

async fn p15_a_token_of_a_deleted_user_is_nobodys(t: Test) {
    let server = t.start().await;
    let user = server.create_with_password(EMAIL).await;
    let token = create_reset(&server, &user.id).await.unwrap();
    Method::Delete.call(&server, Change::of(&user.id)).await.unwrap();
    server.create_with_password(EMAIL).await;

    assert_token_fails(&server, &token, "TOKEN_INVALID").await;
    assert_eq!(count(&t, "one_time_tokens").await, "0");
    server.sign_in(EMAIL, PASSWORD).await.unwrap();
}

async fn p15_a_refused_password_does_not_use_the_token_up(t: Test) {
    let server = t.start().await;
    let user = server.create_with_password(EMAIL).await;
    let token = create_reset(&server, &user.id).await.unwrap();
    for refused in ["short", "passwordpassword", "ada@example.com!"] {
        let failure = confirm_reset(&server, &token, refused).await.unwrap_err();
        assert_eq!(failure.code(), Code::InvalidArgument, "{refused}");
    }
    confirm_reset(&server, &token, OTHER_PASSWORD).await.unwrap();
}

async fn a_token_is_kept_as_a_digest_only(t: Test) {
    let server = t.start().await;
    let user = server.create_with_password(EMAIL).await;
    let token = create_reset(&server, &user.id).await.unwrap();
    let hexadecimal = match t.backend {
        Backend::Sqlite => "lower(hex(token_hash))",
        Backend::Postgres => "encode(token_hash, 'hex')",
    };
    let query = format!("SELECT {hexadecimal} AS value FROM one_time_tokens");
    let stored = t.sql_value(&query).await.unwrap();
    let random = &token[4..];
    let digest = ring::digest::digest(&ring::digest::SHA256, token.as_bytes());
    let expected = digest
        .as_ref()
        .iter()
        .fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    assert_eq!(stored, expected);
    assert!(token.starts_with("ido_") && random.len() == 43, "{token}");
}

async fn a_reset_opens_no_lock(t: Test) {
    let server = t.start().await;
    let user = server.create_with_password(EMAIL).await;
    for _ in 0..5 {
        server.sign_in(EMAIL, "a wrong password").await.unwrap_err();
    }
    let token = create_reset(&server, &user.id).await.unwrap();
    confirm_reset(&server, &token, OTHER_PASSWORD).await.unwrap();
    assert!(stored_hash(&t, EMAIL).await.is_some());
    assert_failed(
        server.sign_in(EMAIL, OTHER_PASSWORD).await,
        Code::ResourceExhausted,
        "TOO_MANY_ATTEMPTS",
    );
}

async fn nobody_gets_no_token(t: Test) {
    let server = t.start().await;
    assert_failed(
        create_reset(&server, NOBODY).await,
        Code::NotFound,
        "USER_NOT_FOUND",
    );
}
