//! `GetUser`.

use tonic::Code;

use super::calls::{NOBODY, kind};
use crate::support::{Behaviour, Test, behaviours};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        unknown_user_is_not_found_and_named,
        v17_ids_are_hyphenated_uuids_in_either_case,
    ]
}

async fn unknown_user_is_not_found_and_named(t: Test) {
    let server = t.start().await;

    let failure = server.get(NOBODY).await.unwrap_err();

    assert_eq!(kind(&failure), (Code::NotFound, "USER_NOT_FOUND".to_owned()));
    let resource = failure.resource().unwrap();
    assert_eq!(resource.resource_type, "identity.v1.User");
    assert_eq!(resource.resource_name, format!("users/{NOBODY}"));
}

async fn v17_ids_are_hyphenated_uuids_in_either_case(t: Test) {
    let server = t.start().await;
    let user = server.create_user("ada@example.com").await;
    let id = user.id.as_str();

    let found = server.get(&id.to_uppercase()).await.unwrap();
    assert_eq!(found, user, "the canonical form is returned");

    for (text, reason) in [
        ("", "FIELD_REQUIRED"),
        ("ada", "INVALID_FORMAT"),
        (&id.replace('-', ""), "INVALID_FORMAT"),
        (&format!("{{{id}}}"), "INVALID_FORMAT"),
        (&format!("urn:uuid:{id}"), "INVALID_FORMAT"),
        (&format!(" {id}"), "INVALID_FORMAT"),
        (&format!("{id}0"), "INVALID_FORMAT"),
        (&format!("{}g", &id[..35]), "INVALID_FORMAT"),
        (&id.replace('-', "\u{2010}"), "INVALID_FORMAT"),
        (&id.replace('-', " "), "INVALID_FORMAT"),
        // 36 bytes in which a UUID can be read nevertheless.
        (&format!("{{{}}}  ", id.replace('-', "")), "INVALID_FORMAT"),
        (&" ".repeat(36), "INVALID_FORMAT"),
        (&"-".repeat(36), "INVALID_FORMAT"),
    ] {
        let failure = server.get(text).await.expect_err(text);
        assert_eq!(
            (failure.code(), failure.fields()),
            (
                Code::InvalidArgument,
                vec![("user_id".to_owned(), reason.to_owned())]
            ),
            "{text:?}"
        );
    }

    for text in [
        "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
    ] {
        let failure = server.get(text).await.expect_err(text);
        assert_eq!(kind(&failure), (Code::NotFound, "USER_NOT_FOUND".to_owned()));
    }
}
