//! `DeleteUser`.

use tonic::Code;

use super::calls::{Change, Method, NOBODY, assert_failed, batch_get, count, lookup_email};
use crate::support::{Behaviour, Test, behaviours, new_user};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        deleted_user_is_gone_from_every_answer,
        deleted_user_leaves_its_names_free,
        deleting_nobody_is_not_found,
    ]
}

async fn deleted_user_is_gone_from_every_answer(t: Test) {
    let server = t.start().await;
    let ada = server.create_user("ada@example.com").await;
    let grace = server.create_user("grace@example.com").await;

    Method::Delete.call(&server, Change::of(&ada.id)).await.unwrap();

    assert_failed(server.get(&ada.id).await, Code::NotFound, "USER_NOT_FOUND");
    assert_failed(
        lookup_email(&server, "ada@example.com").await,
        Code::NotFound,
        "USER_NOT_FOUND",
    );
    assert_failed(
        batch_get(&server, &[&grace.id, &ada.id]).await,
        Code::NotFound,
        "USER_NOT_FOUND",
    );
    for method in Method::ALL {
        let again = method.call(&server, Change::of(&ada.id)).await;
        assert_failed(again, Code::NotFound, "USER_NOT_FOUND");
    }
    assert_eq!(server.get(&grace.id).await.unwrap(), grace);
    assert_eq!(count(&t, "users").await, "1");
}

async fn deleted_user_leaves_its_names_free(t: Test) {
    let server = t.start().await;
    let ada = new_user().email("ada@example.com").username(r"\corp\ada");
    let first = server.create(ada.clone()).await.unwrap();

    Method::Delete.call(&server, Change::of(&first.id)).await.unwrap();

    let second = server.create(ada.user_id(&first.id)).await.unwrap();
    assert_eq!(second.email, first.email);
}

async fn deleting_nobody_is_not_found(t: Test) {
    let server = t.start().await;

    let result = Method::Delete.call(&server, Change::of(NOBODY)).await;

    assert_failed(result, Code::NotFound, "USER_NOT_FOUND");
}
