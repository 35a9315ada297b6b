//! `SignInWithPassword`: what is accepted, what is answered, and that many can do it at once.

use futures_util::future::join_all;
use identity::proto::identity::v1::{Client, SignInWithPasswordRequest};
use tonic::Code;

use crate::support::{Behaviour, PASSWORD, Test, behaviours, new_user};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        a_user_signs_in_with_every_form_of_both_names,
        p14_the_answer_holds_neither_password_nor_hash,
        the_password_is_the_same_in_either_normalisation,
        every_violation_is_reported_at_once,
        a_failure_before_does_not_keep_parallel_sign_ins_out,
    ]
}

const EMAIL: &str = "Ada@example.com";

async fn a_user_signs_in_with_every_form_of_both_names(t: Test) {
    let server = t.start().await;
    let user = new_user().email(EMAIL).username(r"\Home\Ada").password(PASSWORD);
    let user = server.create(user).await.unwrap();
    for name in [
        EMAIL,
        "ADA@EXAMPLE.COM",
        "ada@example.com",
        r"\Home\Ada",
        r"\home\ada",
    ] {
        let tokens = server.sign_in(name, PASSWORD).await.expect(name);
        let claims = server.introspect(&tokens.access_token).await.unwrap();
        assert_eq!(claims.user_id, user.id, "{name}");
    }
    // Nothing is trimmed, and nothing else is a name of the user.
    for name in [
        " ada@example.com",
        "ada@example.com ",
        "ada",
        r"home\ada",
        r"\\home\ada",
    ] {
        let failure = server.sign_in(name, PASSWORD).await.expect_err(name);
        assert_eq!(failure.reason(), "INVALID_CREDENTIALS", "{name}");
    }
}

async fn p14_the_answer_holds_neither_password_nor_hash(t: Test) {
    let server = t.start().await;
    let user = server.create_with_password(EMAIL).await;
    let request = SignInWithPasswordRequest {
        identifier: EMAIL.to_owned(),
        password: PASSWORD.to_owned(),
        client: None,
    };
    let response = server.auth().sign_in_with_password(request).await.unwrap();
    let response = response.into_inner();
    assert_eq!(response.user, Some(user));
    let bytes = prost::Message::encode_to_vec(&response);
    let text = String::from_utf8_lossy(&bytes);
    assert!(!text.contains("$2b$") && !text.contains(PASSWORD));
}

async fn the_password_is_the_same_in_either_normalisation(t: Test) {
    let server = t.start().await;
    let user = new_user().email(EMAIL).password("Caf\u{e9} au lait et croissant");
    server.create(user).await.unwrap();
    server
        .sign_in(EMAIL, "Cafe\u{301} au lait et croissant")
        .await
        .unwrap();
    // Other characters that look the same are others.
    for wrong in ["Cafe au lait et croissant", " Caf\u{e9} au lait et croissant"] {
        server.sign_in(EMAIL, wrong).await.expect_err(wrong);
    }
}

async fn every_violation_is_reported_at_once(t: Test) {
    let server = t.start().await;
    let request = SignInWithPasswordRequest {
        identifier: "a\nb".to_owned(),
        password: "a\0b".to_owned(),
        client: Some(Client {
            ip_address: "1.2.3".to_owned(),
            user_agent: "a\u{7}".to_owned(),
            client_id: "a b".to_owned(),
        }),
    };
    let status = server.auth().sign_in_with_password(request).await.unwrap_err();
    let failure = crate::support::Failure::from(status);
    assert_eq!(failure.code(), Code::InvalidArgument);
    let fields: Vec<String> = failure.fields().into_iter().map(|(field, _)| field).collect();
    assert_eq!(
        fields,
        [
            "identifier",
            "password",
            "client.ip_address",
            "client.user_agent",
            "client.client_id"
        ]
    );
    assert_eq!(server.computed_hashes().await, 0);
}

async fn a_failure_before_does_not_keep_parallel_sign_ins_out(t: Test) {
    let servers = [t.start().await, t.start().await];
    servers[0].create_with_password(EMAIL).await;
    for _ in 0..30 {
        servers[0].sign_in(EMAIL, "a wrong password").await.unwrap_err();
        // Four attempts at once are fewer than would have to wait, whichever of them is counted first.
        let sign_ins = (0..3).map(|number| servers[number % 2].sign_in(EMAIL, PASSWORD));
        for outcome in join_all(sign_ins).await {
            outcome.unwrap();
        }
    }
}
