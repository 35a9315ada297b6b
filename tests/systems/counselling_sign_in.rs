//! The counselling platform: blocked users.

use super::calls::{block, unblock};
use super::counselling::CONFIGURATION;
use super::kept_out::{assert_ended, assert_kept_out, assert_live};
use super::rows::insert_by_hand;
use crate::support::{Behaviour, PASSWORD, Test, behaviours, new_user};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        csl_03_nobody_is_blocked_until_an_administrator_does,
        csl_03_a_blocked_user_cannot_sign_in_and_the_sessions_end,
        csl_03_a_user_who_is_blocked_by_hand_is_kept_out_at_once,
    ]
}

async fn csl_03_nobody_is_blocked_until_an_administrator_does(t: Test) {
    let server = t.start_with(CONFIGURATION).await;
    let newcomer = new_user().username(r"\clinic\ada").password(PASSWORD);
    let ada = server.create(newcomer).await.unwrap();
    assert!(!ada.is_blocked);
    insert_by_hand(&t, "email, email_normalized", "'b@example.com', 'b@example.com'")
        .await
        .unwrap();
    let blocked_by_default = "SELECT count(*) AS value FROM users WHERE is_blocked";
    assert_eq!(t.sql_value(blocked_by_default).await.as_deref(), Some("0"));
    server.sign_in(r"\clinic\ada", PASSWORD).await.unwrap();

    block(&server, &ada.id, "left the clinic").await;
    let blocked = server.get(&ada.id).await.unwrap();
    assert!(blocked.is_blocked && blocked.is_active);
    assert_eq!(blocked.block_reason, "left the clinic");

    unblock(&server, &ada.id).await;
    let unblocked = server.get(&ada.id).await.unwrap();
    assert!(!unblocked.is_blocked && unblocked.block_reason.is_empty());
}

async fn csl_03_a_blocked_user_cannot_sign_in_and_the_sessions_end(t: Test) {
    let server = t.start_with(CONFIGURATION).await;
    let replica = t.start_with(CONFIGURATION).await;
    let mut ids = Vec::new();
    for name in [r"\clinic\ada", r"\clinic\grace"] {
        let created = server.create(new_user().username(name).password(PASSWORD)).await;
        ids.push(created.unwrap().id);
    }
    let tokens = server.sign_in(r"\clinic\ada", PASSWORD).await.unwrap();
    let elsewhere = replica.sign_in(r"\clinic\ada", PASSWORD).await.unwrap();
    let others = server.sign_in(r"\clinic\grace", PASSWORD).await.unwrap();

    block(&server, &ids[0], "left the clinic").await;

    for clients in [&server, &replica] {
        assert_kept_out(clients, r"\Clinic\ADA", &tokens, "USER_BLOCKED").await;
        assert_ended(clients, &elsewhere).await;
    }
    assert_live(&replica, &others).await;
    let ended = "SELECT count(*) AS value FROM sessions WHERE revoke_reason = 'user_blocked'";
    assert_eq!(t.sql_value(ended).await.as_deref(), Some("2"));

    unblock(&server, &ids[0]).await;

    let again = replica.sign_in(r"\clinic\ada", PASSWORD).await.unwrap();
    assert_live(&server, &again).await;
    assert_ended(&replica, &tokens).await;
}

async fn csl_03_a_user_who_is_blocked_by_hand_is_kept_out_at_once(t: Test) {
    let server = t.start_with(CONFIGURATION).await;
    let ada = new_user().username(r"\clinic\ada").password(PASSWORD);
    server.create(ada).await.unwrap();
    let tokens = server.sign_in(r"\clinic\ada", PASSWORD).await.unwrap();

    t.sql("UPDATE users SET is_blocked = true").await.unwrap();

    assert_kept_out(&server, r"\clinic\ada", &tokens, "USER_BLOCKED").await;
}
