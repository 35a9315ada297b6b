//! Etags: a change happens only to the version that its caller has seen.

use tonic::Code;

use super::calls::{Change, Method, assert_failed, assert_refused};
use crate::support::{Behaviour, Test, behaviours};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        g06_a_change_with_the_present_etag_happens,
        g06_a_stale_etag_is_refused_without_a_write,
        g06_the_etag_of_another_user_is_refused,
        g06_a_change_of_the_row_by_hand_makes_an_etag_stale,
        v12_an_etag_has_at_most_64_characters,
    ]
}

async fn g06_a_change_with_the_present_etag_happens(t: Test) {
    let server = t.start().await;
    for method in Method::ALL {
        let user = method.prepare(&server, &format!("{method:?}@example.com")).await;

        let changed = method
            .call(&server, Change::of(&user.id).etag(&user.etag))
            .await
            .unwrap();

        assert_ne!(changed.map(|after| after.etag), Some(user.etag), "{method:?}");
    }
}

async fn g06_a_stale_etag_is_refused_without_a_write(t: Test) {
    let server = t.start().await;
    for method in Method::ALL {
        let stale = method.prepare(&server, &format!("{method:?}@example.com")).await;
        let mut renamed = stale.clone();
        renamed.full_name = "Renamed".to_owned();
        let present = super::calls::update(&server, renamed, &["full_name"])
            .await
            .unwrap();

        let failure = method
            .call(&server, Change::of(&stale.id).etag(&stale.etag))
            .await
            .expect_err("a stale etag");

        assert_eq!(
            (failure.code(), failure.reason().as_str()),
            (Code::Aborted, "ETAG_MISMATCH"),
            "{method:?}"
        );
        let named = failure.resource().unwrap().resource_name;
        assert_eq!(named, format!("users/{}", stale.id), "{method:?}");
        assert_eq!(server.get(&stale.id).await.unwrap(), present, "{method:?}");
    }
}

async fn g06_the_etag_of_another_user_is_refused(t: Test) {
    let server = t.start().await;
    for method in Method::ALL {
        // Both are at the same version.
        let user = method
            .prepare(&server, &format!("one-{method:?}@example.com"))
            .await;
        let other = method
            .prepare(&server, &format!("other-{method:?}@example.com"))
            .await;

        for etag in [
            other.etag.as_str(),
            user.etag.trim_matches('"'),
            "*",
            "W/\"1\"",
            "1",
        ] {
            let result = method.call(&server, Change::of(&user.id).etag(etag)).await;
            assert_failed(result, Code::Aborted, "ETAG_MISMATCH");
        }

        assert_eq!(server.get(&user.id).await.unwrap(), user, "{method:?}");
    }
}

async fn g06_a_change_of_the_row_by_hand_makes_an_etag_stale(t: Test) {
    let server = t.start().await;
    let user = server.create_user("ada@example.com").await;
    t.sql("UPDATE users SET full_name = 'By hand'").await.unwrap();

    let result = Method::Delete
        .call(&server, Change::of(&user.id).etag(&user.etag))
        .await;

    assert_failed(result, Code::Aborted, "ETAG_MISMATCH");
    let by_hand = server.get(&user.id).await.unwrap();
    assert_eq!(by_hand.full_name, "By hand");
    assert_ne!(by_hand.update_time, user.update_time);
}

async fn v12_an_etag_has_at_most_64_characters(t: Test) {
    let server = t.start().await;
    let user = server.create_user("ada@example.com").await;
    for method in Method::ALL {
        let longest = Change::of(&user.id).etag(&"e".repeat(64));
        assert_failed(
            method.call(&server, longest).await,
            Code::Aborted,
            "ETAG_MISMATCH",
        );

        let too_long = Change::of(&user.id).etag(&"e".repeat(65));
        let result = method.call(&server, too_long).await;
        assert_refused(result, method.etag_field(), "VALUE_OUT_OF_RANGE");
    }
}
