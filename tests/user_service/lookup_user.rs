//! `LookupUser`. Which names are accepted and which are the same is in `login_names`.

use identity::proto::identity::v1::LookupUserRequest;
use tonic::Code;

use super::calls::{assert_refused, kind, lookup_email, lookup_username};
use crate::support::{Behaviour, Failure, Test, behaviours, new_user};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        user_is_found_by_either_name,
        unknown_name_is_not_repeated_in_the_answer,
        v20_an_identifier_must_be_given,
        v16_wildcards_in_a_name_are_literal,
    ]
}

async fn user_is_found_by_either_name(t: Test) {
    let server = t.start().await;
    let ada = new_user().email("ada@example.com").username(r"\corp\ada");
    let ada = server.create(ada).await.unwrap();
    server.create_user("grace@example.com").await;

    assert_eq!(lookup_email(&server, "ada@example.com").await.unwrap(), ada);
    assert_eq!(lookup_username(&server, r"\corp\ada").await.unwrap(), ada);
}

async fn unknown_name_is_not_repeated_in_the_answer(t: Test) {
    let server = t.start().await;

    let failure = lookup_email(&server, "ada@example.com").await.unwrap_err();

    assert_eq!(kind(&failure), (Code::NotFound, "USER_NOT_FOUND".to_owned()));
    let resource = failure.resource().unwrap();
    assert_eq!(resource.resource_type, "identity.v1.User");
    assert!(
        !format!("{failure:?}{resource:?}").contains("example.com"),
        "{failure:?}"
    );
    let by_username = lookup_username(&server, r"\corp\ada").await.unwrap_err();
    assert_eq!(kind(&by_username), kind(&failure));
}

async fn v20_an_identifier_must_be_given(t: Test) {
    let server = t.start().await;

    let response = server.users().lookup_user(LookupUserRequest::default()).await;

    assert_refused(response.map_err(Failure::from), "identifier", "FIELD_REQUIRED");
    assert_refused(lookup_email(&server, "").await, "email", "INVALID_FORMAT");
    assert_refused(lookup_username(&server, "").await, "username", "INVALID_FORMAT");
}

async fn v16_wildcards_in_a_name_are_literal(t: Test) {
    let server = t.start().await;
    server
        .create(new_user().email("axb@x.io").username(r"\d\axb"))
        .await
        .unwrap();

    for email in ["a_b@x.io", "a%@x.io", "%@x.io", "'or'1'='1@x.io"] {
        let failure = lookup_email(&server, email).await.expect_err(email);
        assert_eq!(failure.code(), Code::NotFound, "{email}");
    }
    for username in [r"\d\a_b", r"\d\%", r"\%\%", r"\d\'or'1'='1"] {
        let failure = lookup_username(&server, username).await.expect_err(username);
        assert_eq!(failure.code(), Code::NotFound, "{username}");
    }
}
