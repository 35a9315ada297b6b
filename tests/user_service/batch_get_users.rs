//! `BatchGetUsers`.

use tonic::Code;

use super::calls::{NOBODY, assert_refused, batch_get, kind};
use crate::support::{Behaviour, Test, behaviours};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        g10_order_and_duplicates_are_kept,
        g10_a_missing_user_fails_the_whole_batch_and_is_named,
        g10_every_bad_item_is_named,
        g10_one_to_a_hundred_ids,
    ]
}

async fn g10_order_and_duplicates_are_kept(t: Test) {
    let server = t.start().await;
    let ada = server.create_user("ada@example.com").await;
    let grace = server.create_user("grace@example.com").await;
    let upper_case = ada.id.to_uppercase();

    let users = batch_get(&server, &[&grace.id, &ada.id, &grace.id, &upper_case])
        .await
        .unwrap();

    assert_eq!(users, [grace.clone(), ada.clone(), grace, ada]);
}

async fn g10_a_missing_user_fails_the_whole_batch_and_is_named(t: Test) {
    let server = t.start().await;
    let ada = server.create_user("ada@example.com").await;

    let failure = batch_get(&server, &[&ada.id, NOBODY, &ada.id]).await.unwrap_err();

    assert_eq!(kind(&failure), (Code::NotFound, "USER_NOT_FOUND".to_owned()));
    assert_eq!(
        failure.resource().unwrap().resource_name,
        format!("users/{NOBODY}")
    );
}

async fn g10_every_bad_item_is_named(t: Test) {
    let server = t.start().await;
    let ada = server.create_user("ada@example.com").await;

    let failure = batch_get(&server, &[&ada.id, "", NOBODY, "nil"])
        .await
        .unwrap_err();

    assert_eq!(failure.code(), Code::InvalidArgument);
    let fields = [
        ("user_ids[1]", "FIELD_REQUIRED"),
        ("user_ids[3]", "INVALID_FORMAT"),
    ];
    assert_eq!(
        failure.fields(),
        fields.map(|(field, reason)| (field.to_owned(), reason.to_owned()))
    );
}

async fn g10_one_to_a_hundred_ids(t: Test) {
    let server = t.start().await;
    let ada = server.create_user("ada@example.com").await;

    assert_refused(batch_get(&server, &[]).await, "user_ids", "FIELD_REQUIRED");
    let users = batch_get(&server, &[ada.id.as_str(); 100]).await.unwrap();
    assert_eq!(users.len(), 100);
    assert_refused(
        batch_get(&server, &[ada.id.as_str(); 101]).await,
        "user_ids",
        "VALUE_OUT_OF_RANGE",
    );
    // Too many are not looked at one by one: the answer would be larger than the request.
    assert_refused(
        batch_get(&server, &[""; 5000]).await,
        "user_ids",
        "VALUE_OUT_OF_RANGE",
    );
}
