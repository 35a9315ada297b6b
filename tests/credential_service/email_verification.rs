//! `CreateEmailVerification`, `ConfirmEmailVerification`: a token shows once that an email is the user's.

use chrono::TimeDelta;
use futures_util::future::join_all;
use identity::proto::identity::v1::User;
use tonic::Code;

use super::calls::{confirm_verification, create_verification};
use crate::support::{Behaviour, PASSWORD, Test, behaviours, new_user};
use crate::user_service::calls::{NOBODY, assert_failed, update};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        a_token_verifies_the_email_and_ends_no_session,
        p15_a_token_verifies_once,
        p15_of_fifty_parallel_confirmations_one_is_carried_out,
        p15_a_token_expires,
        p15_a_token_does_not_verify_another_email,
        a_user_without_an_email_gets_no_token,
    ]
}

const EMAIL: &str = "Ada@example.com";

async fn a_token_verifies_the_email_and_ends_no_session(t: Test) {
    let server = t.start().await;
    let (user, tokens) = server.signed_in(EMAIL).await;
    assert!(!user.email_verified);
    let issued = create_verification(&server, &user.id).await.unwrap();
    assert_eq!(issued.email, EMAIL);

    let verified = confirm_verification(&server, &issued.token, "").await.unwrap();

    assert!(verified.email_verified);
    assert_eq!(server.get(&user.id).await.unwrap(), verified);
    assert!(server.is_active(&tokens.access_token).await);
}

async fn p15_a_token_verifies_once(t: Test) {
    let server = t.start().await;
    let user = server.create_user(EMAIL).await;
    let first = create_verification(&server, &user.id).await.unwrap().token;
    let second = create_verification(&server, &user.id).await.unwrap().token;
    let expect = async |token: &str, reason: &str| {
        assert_failed(
            confirm_verification(&server, token, "").await,
            Code::Unauthenticated,
            reason,
        );
    };
    expect(&first, "TOKEN_INVALID").await;
    expect(&second[..second.len() - 1], "TOKEN_INVALID").await;
    confirm_verification(&server, &second, "").await.unwrap();
    expect(&second, "TOKEN_REUSED").await;
}

async fn p15_of_fifty_parallel_confirmations_one_is_carried_out(t: Test) {
    let server = t.start().await;
    let user = server.create_user(EMAIL).await;
    let token = create_verification(&server, &user.id).await.unwrap().token;

    let outcomes = join_all((0..50).map(|_| confirm_verification(&server, &token, ""))).await;

    let (accepted, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!(accepted.len(), 1);
    for outcome in refused {
        assert_failed(outcome, Code::Unauthenticated, "TOKEN_REUSED");
    }
}

async fn p15_a_token_expires(t: Test) {
    let server = t.start().await;
    let user = server.create_user(EMAIL).await;
    let token = create_verification(&server, &user.id).await.unwrap().token;
    server.clock.advance(TimeDelta::days(1));
    assert_failed(
        confirm_verification(&server, &token, "").await,
        Code::Unauthenticated,
        "TOKEN_EXPIRED",
    );
    assert!(!server.get(&user.id).await.unwrap().email_verified);
}

async fn p15_a_token_does_not_verify_another_email(t: Test) {
    let server = t.start().await;
    let user = server.create_user(EMAIL).await;
    let with_email = |email: &str| User {
        id: user.id.clone(),
        email: email.to_owned(),
        ..User::default()
    };
    let token = create_verification(&server, &user.id).await.unwrap().token;
    update(&server, with_email("eve@example.com"), &["email"])
        .await
        .unwrap();

    assert_failed(
        confirm_verification(&server, &token, "").await,
        Code::Unauthenticated,
        "TOKEN_INVALID",
    );
    assert!(!server.get(&user.id).await.unwrap().email_verified);

    // The same address in another form is the same address.
    let of_eve = create_verification(&server, &user.id).await.unwrap().token;
    update(&server, with_email("EVE@example.com"), &["email"])
        .await
        .unwrap();
    let verified = confirm_verification(&server, &of_eve, "").await.unwrap();
    assert!(verified.email_verified);
}

async fn a_user_without_an_email_gets_no_token(t: Test) {
    let server = t.start().await;
    let user = new_user().username(r"\home\ada").password(PASSWORD);
    let user = server.create(user).await.unwrap();
    assert_failed(
        create_verification(&server, &user.id).await,
        Code::FailedPrecondition,
        "EMAIL_REQUIRED",
    );
    assert_failed(
        create_verification(&server, NOBODY).await,
        Code::NotFound,
        "USER_NOT_FOUND",
    );
}
