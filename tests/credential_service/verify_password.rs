//! `VerifyPassword`: yes or no, at the same cost, counted like a sign-in.

use identity::proto::identity::v1::{Client, VerifyPasswordRequest};
use tonic::Code;

use super::calls::verify_password;
use crate::security_service::calls::lockout_of_user;
use crate::support::{Behaviour, PASSWORD, Test, behaviours};
use crate::user_service::calls::{NOBODY, assert_failed};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        it_says_whether_the_password_is_right_and_begins_no_session,
        e02_every_answer_costs_one_hash,
        l01_wrong_ones_are_counted_per_network,
        nobody_has_a_password_to_verify,
    ]
}

const EMAIL: &str = "ada@example.com";

async fn it_says_whether_the_password_is_right_and_begins_no_session(t: Test) {
    let server = t.start().await;
    let user = server.create_with_password(EMAIL).await;

    assert!(verify_password(&server, &user.id, PASSWORD).await.unwrap());
    for wrong in ["Correct horse battery", "correct horse battery ", "c"] {
        assert!(
            !verify_password(&server, &user.id, wrong).await.unwrap(),
            "{wrong}"
        );
    }

    let sessions = t.sql_value("SELECT count(*) AS value FROM sessions").await;
    assert_eq!(sessions.as_deref(), Some("0"));
    assert_eq!(server.get(&user.id).await.unwrap(), user);
}

async fn e02_every_answer_costs_one_hash(t: Test) {
    let server = t.start().await;
    let with = server.create_with_password(EMAIL).await;
    let without = server.create_user("without@example.com").await;
    let too_long = format!("{PASSWORD}{}", "x".repeat(100));
    for (user, password, is_right) in [
        (&with, PASSWORD, true),
        (&with, "a wrong password", false),
        (&with, &too_long, false),
        (&without, PASSWORD, false),
        (&without, "null", false),
    ] {
        let before = server.computed_hashes().await;
        let matches = verify_password(&server, &user.id, password).await.unwrap();
        assert_eq!(matches, is_right);
        assert_eq!(server.computed_hashes().await - before, 1);
    }
}

async fn l01_wrong_ones_are_counted_per_network(t: Test) {
    let server = t.start().await;
    let user = server.create_with_password(EMAIL).await;
    let verify = async |address: &str, password: &str| {
        let request = VerifyPasswordRequest {
            user_id: user.id.clone(),
            password: password.to_owned(),
            client: Some(Client {
                ip_address: address.to_owned(),
                ..Client::default()
            }),
        };
        let response = server.credentials().verify_password(request).await;
        response
            .map(|response| response.into_inner().matches)
            .map_err(crate::support::Failure::from)
    };
    for _ in 0..5 {
        assert!(!verify("192.0.2.1", "a wrong password").await.unwrap());
    }
    assert_failed(
        verify("192.0.2.1", PASSWORD).await,
        Code::ResourceExhausted,
        "TOO_MANY_ATTEMPTS",
    );
    assert_failed(
        server.sign_in_from("192.0.2.1", EMAIL, PASSWORD).await,
        Code::ResourceExhausted,
        "TOO_MANY_ATTEMPTS",
    );
    assert!(verify("192.0.2.2", PASSWORD).await.unwrap());
    server.sign_in_from("192.0.2.2", EMAIL, PASSWORD).await.unwrap();
    let lockout = lockout_of_user(&server, &user.id).await.unwrap();
    assert_eq!((lockout.failed_attempts, lockout.locked_networks), (5, 1));
}

async fn nobody_has_a_password_to_verify(t: Test) {
    let server = t.start().await;
    assert_failed(
        verify_password(&server, NOBODY, PASSWORD).await,
        Code::NotFound,
        "USER_NOT_FOUND",
    );
}
