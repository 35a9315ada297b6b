//! `SignUp`: a user with a password who is signed in at once, if the deployment wants that.

use futures_util::future::join_all;
use identity::proto::identity::v1::{Client, SignUpRequest, SignUpResponse, User};
use tonic::Code;

use crate::credential_service::calls::set_password;
use crate::support::{Behaviour, Clients, Failure, PASSWORD, Test, behaviours};
use crate::user_service::calls::{assert_failed, assert_refused, count};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        sign_up_is_off_unless_switched_on,
        whoever_signs_up_is_signed_in,
        a_taken_name_is_refused,
        g07_a_retry_creates_nobody_and_signs_in,
        g07_a_retry_with_a_password_that_was_changed_is_refused,
        g07_fifty_parallel_sign_ups_create_one_user,
        g08_another_sign_up_with_the_same_id_is_refused,
        l06_the_network_of_a_sign_up_is_known,
    ]
}

const EMAIL: &str = "ada@example.com";
const ID: &str = "7c9e6679-7425-40de-944b-e07fc1f90ae7";
const ON: [(&str, &str); 1] = [("IDENTITY_SIGN_UP", "on")];

async fn sign_up(clients: &Clients, request: SignUpRequest) -> Result<SignUpResponse, Failure> {
    Ok(clients.auth().sign_up(request).await?.into_inner())
}

fn request() -> SignUpRequest {
    SignUpRequest {
        user: Some(User {
            email: EMAIL.to_owned(),
            ..User::default()
        }),
        password: PASSWORD.to_owned(),
        client: None,
        request_id: ID.to_owned(),
    }
}

async fn sign_up_is_off_unless_switched_on(t: Test) {
    let server = t.start().await;
    assert_failed(
        sign_up(&server, request()).await,
        Code::FailedPrecondition,
        "SIGN_UP_DISABLED",
    );
    assert_eq!(count(&t, "users").await, "0");
    assert_eq!(server.computed_hashes().await, 0);
}

async fn whoever_signs_up_is_signed_in(t: Test) {
    let server = t.start_with(&ON).await;
    let response = sign_up(&server, request()).await.unwrap();
    let (user, tokens) = (response.user.unwrap(), response.tokens.unwrap());

    assert!(user.password_set && !user.email_verified);
    let claims = server.introspect(&tokens.access_token).await.unwrap();
    assert!(claims.active);
    assert_eq!(claims.user_id, user.id);
    server.refresh(&tokens.refresh_token).await.unwrap();
    server.sign_in(EMAIL, PASSWORD).await.unwrap();
}

async fn a_taken_name_is_refused(t: Test) {
    let server = t.start_with(&ON).await;
    server.create_with_password("ADA@Example.com").await;
    let without_id = SignUpRequest {
        request_id: String::new(),
        ..request()
    };
    for request in [request(), without_id] {
        assert_failed(
            sign_up(&server, request).await,
            Code::AlreadyExists,
            "EMAIL_TAKEN",
        );
    }
    assert_eq!(count(&t, "sessions").await, "0");
    assert_eq!(count(&t, "request_ids").await, "0");
}

async fn g07_a_retry_creates_nobody_and_signs_in(t: Test) {
    let server = t.start_with(&ON).await;
    let first = sign_up(&server, request()).await.unwrap();

    let again = sign_up(&server, request()).await.unwrap();

    assert_eq!(again.user, first.user);
    assert_eq!(count(&t, "users").await, "1");
    for response in [first, again] {
        let tokens = response.tokens.unwrap();
        assert!(server.is_active(&tokens.access_token).await);
        server.refresh(&tokens.refresh_token).await.unwrap();
    }
}

async fn g07_a_retry_with_a_password_that_was_changed_is_refused(t: Test) {
    let server = t.start_with(&ON).await;
    let first = sign_up(&server, request()).await.unwrap();
    set_password(&server, &first.user.unwrap().id, "a new and better one")
        .await
        .unwrap();
    assert_failed(
        sign_up(&server, request()).await,
        Code::Unauthenticated,
        "INVALID_CREDENTIALS",
    );
}

async fn g07_fifty_parallel_sign_ups_create_one_user(t: Test) {
    let patient = [
        ON[0],
        ("IDENTITY_LOCKOUT_FAILURES", "1000"),
        ("IDENTITY_LOCKOUT_FREE_FAILURES", "1000"),
        ("IDENTITY_DATABASE_POOL_ACQUIRE_TIMEOUT", "60s"),
        ("IDENTITY_MAX_DEADLINE", "60s"),
    ];
    let server = t.start_with(&patient).await;

    let answers = join_all((0..50).map(|_| sign_up(&server, request()))).await;

    let first = answers[0].as_ref().unwrap().user.clone();
    for answer in answers {
        assert_eq!(answer.unwrap().user, first);
    }
    assert_eq!(count(&t, "users").await, "1");
}

async fn g08_another_sign_up_with_the_same_id_is_refused(t: Test) {
    let server = t.start_with(&ON).await;
    sign_up(&server, request()).await.unwrap();
    let other_user = User {
        email: "bob@example.com".to_owned(),
        ..User::default()
    };
    for other in [
        SignUpRequest {
            user: Some(other_user),
            ..request()
        },
        SignUpRequest {
            password: "another password entirely".to_owned(),
            ..request()
        },
    ] {
        let outcome = sign_up(&server, other).await;
        assert_refused(outcome, "request_id", "REQUEST_ID_REUSED");
    }
    assert_eq!(count(&t, "users").await, "1");
    assert_eq!(count(&t, "sessions").await, "1");
}

async fn l06_the_network_of_a_sign_up_is_known(t: Test) {
    const HOME: &str = "198.51.100.7";
    let server = t
        .start_with(&[ON[0], ("IDENTITY_LOCKOUT_FREE_FAILURES", "1")])
        .await;
    let from_home = SignUpRequest {
        client: Some(Client {
            ip_address: HOME.to_owned(),
            ..Client::default()
        }),
        ..request()
    };
    sign_up(&server, from_home).await.unwrap();
    // Strangers fail until they have to wait for minutes.
    for number in 1..12 {
        let address = format!("203.0.113.{number}");
        server.clock.advance(chrono::TimeDelta::minutes(5));
        server
            .sign_in_from(&address, EMAIL, "a wrong password")
            .await
            .unwrap_err();
    }
    assert_failed(
        server.sign_in_from("203.0.113.99", EMAIL, PASSWORD).await,
        Code::ResourceExhausted,
        "TOO_MANY_ATTEMPTS",
    );
    server.sign_in_from(HOME, EMAIL, PASSWORD).await.unwrap();
}
