//! Request ids: the same change, sent again, happens once.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::TimeDelta;
use futures_util::future::join_all;
use tonic::Code;

use super::calls::{Change, Method, PASSWORD, assert_failed, assert_refused, count};
use crate::support::{Behaviour, Test, behaviours, new_user};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        g07_a_retried_create_answers_with_the_same_user,
        g07_the_case_of_an_id_does_not_make_it_another,
        g07_fifty_parallel_creates_have_one_effect_and_one_answer,
        g07_fifty_parallel_changes_have_one_effect_and_one_answer,
        g07_a_retry_after_a_restart_changes_nothing,
        g07_a_retried_change_answers_with_the_user_as_it_is_now,
        g07_a_retry_does_not_mind_that_the_etag_is_stale_by_its_own_effect,
        g07_a_record_expires_after_24_hours,
        g08_another_request_with_the_same_id_is_refused,
        g08_methods_have_ids_of_their_own,
        a_failed_change_leaves_no_record,
        a_record_tells_nothing_of_the_password,
    ]
}

const ID: &str = "7c9e6679-7425-40de-944b-e07fc1f90ae7";

async fn g07_a_retried_create_answers_with_the_same_user(t: Test) {
    let server = t.start().await;
    let request = new_user()
        .email("ada@example.com")
        .password(PASSWORD)
        .request_id(ID);
    let first = server.create(request.clone()).await.unwrap();

    let second = server.create(request).await.unwrap();

    assert_eq!(second, first);
    assert_eq!(count(&t, "users").await, "1");
    assert_eq!(count(&t, "request_ids").await, "1");
}

async fn g07_the_case_of_an_id_does_not_make_it_another(t: Test) {
    let server = t.start().await;
    let user = server.create_user("ada@example.com").await;
    let block = Change::of(&user.id).request_id(ID);
    Method::Block.call(&server, block).await.unwrap();
    Method::Unblock.call(&server, Change::of(&user.id)).await.unwrap();

    let in_upper_case = Change::of(&user.id).request_id(&ID.to_uppercase());
    let result = Method::Block.call(&server, in_upper_case).await;

    // Its bytes are not those of the first request, so it is no retry, but nor is its id a new one.
    assert_refused(result, "request_id", "REQUEST_ID_REUSED");
    assert!(!server.get(&user.id).await.unwrap().is_blocked);
}

async fn g07_fifty_parallel_creates_have_one_effect_and_one_answer(t: Test) {
    let server = t.start().await;
    for (round, password) in ["", PASSWORD].into_iter().enumerate() {
        let request_id = format!("7c9e6679-7425-40de-944b-00000000000{round}");
        let request = new_user()
            .email(&format!("ada{round}@example.com"))
            .password(password)
            .request_id(&request_id);

        let answers = join_all((0..50).map(|_| server.create(request.clone()))).await;

        let first = answers[0].as_ref().unwrap().clone();
        for answer in answers {
            assert_eq!(answer.unwrap(), first);
        }
        assert_eq!(server.get(&first.id).await.unwrap(), first);
        assert_eq!(count(&t, "users").await, (round + 1).to_string());
    }
}

async fn g07_fifty_parallel_changes_have_one_effect_and_one_answer(t: Test) {
    let server = t.start().await;
    for method in Method::ALL {
        let user = method.prepare(&server, &format!("{method:?}@example.com")).await;
        let change = Change::of(&user.id).request_id(ID);

        let answers = join_all((0..50).map(|_| method.call(&server, change.clone()))).await;

        let first = answers[0].as_ref().unwrap().clone();
        for answer in answers {
            assert_eq!(answer.unwrap(), first, "{method:?}");
        }
        assert_eq!(server.get(&user.id).await.ok(), first, "{method:?}");
    }
    assert_eq!(count(&t, "request_ids").await, Method::ALL.len().to_string());
}

async fn g07_a_retry_after_a_restart_changes_nothing(t: Test) {
    let server = t.start().await;
    let create = new_user()
        .email("ada@example.com")
        .password(PASSWORD)
        .request_id(ID);
    let created = server.create(create.clone()).await.unwrap();
    let mut changes = Vec::new();
    for method in Method::ALL {
        let user = method.prepare(&server, &format!("{method:?}@example.com")).await;
        let change = Change::of(&user.id).request_id(ID);
        let changed = method.call(&server, change.clone()).await.unwrap();
        changes.push((method, change, changed));
    }
    server.shutdown().await;

    let restarted = t.start().await;

    assert_eq!(restarted.create(create).await.unwrap(), created);
    for (method, change, changed) in changes {
        let again = method.call(&restarted, change).await.unwrap();
        assert_eq!(again, changed, "{method:?}");
    }
}

async fn g07_a_retried_change_answers_with_the_user_as_it_is_now(t: Test) {
    let server = t.start().await;
    let user = server.create_user("ada@example.com").await;
    let block = Change::of(&user.id).request_id(ID);
    Method::Block.call(&server, block.clone()).await.unwrap();
    let unblocked = Method::Unblock.call(&server, Change::of(&user.id)).await.unwrap();

    let retried = Method::Block.call(&server, block.clone()).await.unwrap();

    assert_eq!(retried, unblocked, "the block is not repeated");
    assert!(!server.get(&user.id).await.unwrap().is_blocked);

    // Nobody is left to answer with once the user is gone, but the retry of the deletion is still fine.
    let delete = Change::of(&user.id).request_id(ID);
    Method::Delete.call(&server, delete.clone()).await.unwrap();
    Method::Delete.call(&server, delete).await.unwrap();
    assert_failed(
        Method::Block.call(&server, block).await,
        Code::NotFound,
        "USER_NOT_FOUND",
    );
}

async fn g07_a_retry_does_not_mind_that_the_etag_is_stale_by_its_own_effect(t: Test) {
    let server = t.start().await;
    for method in Method::ALL {
        let user = method.prepare(&server, &format!("{method:?}@example.com")).await;
        let change = Change::of(&user.id).etag(&user.etag).request_id(ID);
        let first = method.call(&server, change.clone()).await.unwrap();

        let second = method.call(&server, change).await.unwrap();

        assert_eq!(second, first, "{method:?}");
    }
}

async fn g07_a_record_expires_after_24_hours(t: Test) {
    let server = t.start().await;
    let user = server.create_user("ada@example.com").await;
    let block = Change::of(&user.id).request_id(ID);
    Method::Block.call(&server, block.clone()).await.unwrap();
    Method::Unblock.call(&server, Change::of(&user.id)).await.unwrap();
    let bob = new_user().email("bob@example.com").request_id(ID);
    server.create(bob).await.unwrap();
    let carol = || new_user().email("carol@example.com").request_id(ID);

    t.clock.advance(TimeDelta::hours(24) - TimeDelta::minutes(2));
    let retried = Method::Block.call(&server, block.clone()).await.unwrap().unwrap();
    assert!(!retried.is_blocked, "still remembered");
    assert_refused(server.create(carol()).await, "request_id", "REQUEST_ID_REUSED");

    t.clock.advance(TimeDelta::minutes(2));
    let new = Method::Block.call(&server, block.clone()).await.unwrap().unwrap();
    assert!(new.is_blocked, "a new request");
    server.create(carol()).await.unwrap();

    // The new request is remembered from its own time on.
    t.clock.advance(TimeDelta::hours(23));
    Method::Unblock.call(&server, Change::of(&user.id)).await.unwrap();
    let again = Method::Block.call(&server, block).await.unwrap().unwrap();
    assert!(!again.is_blocked);
}

async fn g08_another_request_with_the_same_id_is_refused(t: Test) {
    let server = t.start().await;
    let ada = new_user()
        .email("ada@example.com")
        .password(PASSWORD)
        .request_id(ID);
    let created = server.create(ada.clone()).await.unwrap();
    for other in [
        ada.clone().email("Ada@example.com"),
        ada.clone().email("bob@example.com"),
        ada.clone().full_name("Ada"),
        ada.clone().password("another password entirely"),
        ada.clone().password(""),
        ada.user_id(&created.id),
    ] {
        assert_refused(server.create(other).await, "request_id", "REQUEST_ID_REUSED");
    }
    assert_eq!(count(&t, "users").await, "1");

    let other = server.create_user("other@example.com").await;
    for method in Method::ALL {
        let user = method.prepare(&server, &format!("{method:?}@example.com")).await;
        let change = Change::of(&user.id).request_id(ID);
        method.call(&server, change.clone()).await.unwrap();
        for reused in [
            change.clone().etag("\"other\""),
            Change::of(&other.id).request_id(ID),
        ] {
            let result = method.call(&server, reused).await;
            assert_refused(result, "request_id", "REQUEST_ID_REUSED");
        }
    }
    assert_eq!(server.get(&other.id).await.unwrap(), other);
}

async fn g08_methods_have_ids_of_their_own(t: Test) {
    let server = t.start().await;
    let user = server
        .create(new_user().email("ada@example.com").request_id(ID))
        .await
        .unwrap();

    // The four requests of a state change have the same bytes, too.
    for method in [
        Method::Update,
        Method::Deactivate,
        Method::Reactivate,
        Method::Block,
        Method::Unblock,
    ] {
        let before = server.get(&user.id).await.unwrap();
        let change = Change::of(&user.id).request_id(ID);
        let changed = method.call(&server, change).await.unwrap().unwrap();
        assert_ne!(changed.etag, before.etag, "{method:?}");
    }
    let delete = Change::of(&user.id).request_id(ID);
    Method::Delete.call(&server, delete).await.unwrap();
    assert_failed(server.get(&user.id).await, Code::NotFound, "USER_NOT_FOUND");
}

async fn a_failed_change_leaves_no_record(t: Test) {
    let server = t.start().await;
    for method in Method::ALL {
        let user = method.prepare(&server, &format!("{method:?}@example.com")).await;
        let change = Change::of(&user.id).request_id(ID);
        let stale = method.call(&server, change.clone().etag("\"stale\"")).await;
        assert_failed(stale, Code::Aborted, "ETAG_MISMATCH");
        assert_eq!(count(&t, "request_ids").await, "0");

        // So the id is free for the corrected request.
        method.call(&server, change).await.unwrap();
        t.sql("DELETE FROM request_ids").await.unwrap();
    }
}

async fn a_record_tells_nothing_of_the_password(t: Test) {
    let server = t.start().await;
    let request = new_user().email("ada@example.com").password(PASSWORD);
    for request_id in [ID, "7c9e6679-7425-40de-944b-e07fc1f90ae8"] {
        let id = "0190a6e1-7d5c-7abc-8def-0123456789ab";
        let request = request.clone().user_id(id).request_id(request_id);
        server.create(request).await.unwrap();
        Method::Delete.call(&server, Change::of(id)).await.unwrap();
    }
    let other_key = STANDARD.encode(b"another key of thirty-two bytes.");
    // With signing keys that it cannot decrypt the other server would not start.
    t.sql("DELETE FROM signing_keys").await.unwrap();
    let other = t
        .start_with(&[("IDENTITY_MASTER_KEY", &other_key), ("IDENTITY_MIGRATE", "off")])
        .await;

    // Under another master key the same request has another fingerprint: it is no plain digest.
    let id = "0190a6e1-7d5c-7abc-8def-0123456789ab";
    let result = other.create(request.user_id(id).request_id(ID)).await;
    assert_refused(result, "request_id", "REQUEST_ID_REUSED");
}
