//! `BlockUser` and `UnblockUser`.

use identity::proto::identity::v1::{BlockUserRequest, User};

use super::calls::{Change, Method, assert_refused};
use crate::support::{Behaviour, Clients, Failure, Test, behaviours};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        blocked_user_has_the_reason_until_unblocked,
        a_block_and_the_activity_are_independent,
        another_reason_replaces_the_old_one,
        v12_a_reason_has_at_most_500_characters,
        v09_a_reason_has_no_control_characters,
    ]
}

async fn block(clients: &Clients, user_id: &str, reason: &str) -> Result<User, Failure> {
    let request = BlockUserRequest {
        user_id: user_id.to_owned(),
        reason: reason.to_owned(),
        ..BlockUserRequest::default()
    };
    let response = clients.users().block_user(request).await?;
    Ok(response.into_inner().user.expect("a user in the response"))
}

async fn blocked_user_has_the_reason_until_unblocked(t: Test) {
    let server = t.start().await;
    let ada = server.create_user("ada@example.com").await;

    let blocked = block(&server, &ada.id, "Chargebacks").await.unwrap();
    assert!(blocked.is_blocked && blocked.is_active);
    assert_eq!(blocked.block_reason, "Chargebacks");
    assert_eq!(server.get(&ada.id).await.unwrap(), blocked);

    let unblocked = Method::Unblock.call(&server, Change::of(&ada.id)).await;
    let unblocked = unblocked.unwrap().unwrap();
    assert!(!unblocked.is_blocked);
    assert_eq!(unblocked.block_reason, "");
    assert_eq!(server.get(&ada.id).await.unwrap(), unblocked);
}

async fn a_block_and_the_activity_are_independent(t: Test) {
    let server = t.start().await;
    let ada = server.create_user("ada@example.com").await;
    block(&server, &ada.id, "Abuse").await.unwrap();

    let off = Method::Deactivate.call(&server, Change::of(&ada.id)).await;
    let off = off.unwrap().unwrap();
    assert!(!off.is_active && off.is_blocked);
    assert_eq!(off.block_reason, "Abuse");

    let unblocked = Method::Unblock.call(&server, Change::of(&ada.id)).await;
    let unblocked = unblocked.unwrap().unwrap();
    assert!(!unblocked.is_active && !unblocked.is_blocked);
}

async fn another_reason_replaces_the_old_one(t: Test) {
    let server = t.start().await;
    let ada = server.create_user("ada@example.com").await;
    let first = block(&server, &ada.id, "Abuse").await.unwrap();

    let second = block(&server, &ada.id, "Chargebacks").await.unwrap();
    assert_eq!(second.block_reason, "Chargebacks");
    assert_ne!(second.etag, first.etag);

    let third = block(&server, &ada.id, "").await.unwrap();
    assert!(third.is_blocked);
    assert_eq!(third.block_reason, "");
}

async fn v12_a_reason_has_at_most_500_characters(t: Test) {
    let server = t.start().await;
    let ada = server.create_user("ada@example.com").await;
    // Four bytes each: characters are counted.
    let longest = "\u{10348}".repeat(500);

    let blocked = block(&server, &ada.id, &longest).await.unwrap();
    assert_eq!(blocked.block_reason, longest);

    let failure = block(&server, &ada.id, &format!("{longest}a")).await.unwrap_err();
    assert_eq!(failure.metadata("limit").as_deref(), Some("500"));
    assert_eq!(
        failure.fields(),
        [("reason".to_owned(), "VALUE_OUT_OF_RANGE".to_owned())]
    );
    assert_eq!(server.get(&ada.id).await.unwrap(), blocked);
}

async fn v09_a_reason_has_no_control_characters(t: Test) {
    let server = t.start().await;
    let ada = server.create_user("ada@example.com").await;

    for reason in [
        "a\0b",
        "a\r\nb",
        "\u{1b}[2J",
        "a\u{7f}",
        "a\u{9b}",
        "a\u{2028}b",
        "   ",
        "\u{3000}",
    ] {
        assert_refused(block(&server, &ada.id, reason).await, "reason", "INVALID_FORMAT");
    }
    assert_eq!(server.get(&ada.id).await.unwrap(), ada);
}
