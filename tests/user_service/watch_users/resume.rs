//! Resume tokens, and what they are refused for (threat G11).

use chrono::TimeDelta;
use identity::proto::identity::v1::watch_users_response::Content;
use tonic::Code;

use super::watching::{Copy, Watch, after, from_beginning, from_now, table};
use super::{CHECKPOINTS, rename};
use crate::support::{
    Backend, Behaviour, Clients, PostgresCluster, Test, behaviours, eventually, postgres_only,
    sqlite_only,
};
use crate::user_service::calls::assert_refused;

pub fn tests() -> Vec<Behaviour> {
    [
        behaviours![
            a_resumed_stream_goes_on_right_after_its_token,
            a_snapshot_goes_on_where_it_was,
            a_token_is_good_on_every_server_and_after_a_restart,
            g11_a_tampered_token_is_refused,
            g11_a_token_of_the_future_is_refused,
            g11_a_token_of_events_that_are_lost_is_refused,
            g11_a_token_older_than_what_is_kept_has_expired,
            checkpoints_keep_a_token_young,
        ],
        postgres_only![events_of_another_cluster_are_followed],
        sqlite_only![a_database_that_goes_back_ends_streams],
    ]
    .concat()
}

async fn assert_token_refused(clients: &Clients, token: &str) {
    let outcome = Watch::begin(clients, after(token)).await.map(drop);
    assert_refused(outcome, "resume_token", "INVALID_RESUME_TOKEN");
}

async fn a_resumed_stream_goes_on_right_after_its_token(t: Test) {
    const CHANGES: usize = 230;
    let server = t.start().await;
    let ada = server.create_user("ada@example.com").await;
    let mut watch = Watch::now(&server).await;
    let mut tokens = vec![watch.token.clone()];
    for number in 0..CHANGES {
        rename(&server, &ada, &format!("Ada {number}")).await;
    }
    let mut events = Vec::new();
    for _ in 0..CHANGES {
        events.push(watch.change().await.event_id);
        tokens.push(watch.token.clone());
    }

    for told in [0, 1, 2, 57, 99, 100, 101, 129, 200, CHANGES - 1, CHANGES] {
        let mut resumed = Watch::begin(&server, after(&tokens[told])).await.unwrap();
        for event in &events[told..] {
            assert_eq!(resumed.change().await.event_id, *event, "after {told}");
        }
        resumed.checkpoint().await;
    }
}

async fn a_snapshot_goes_on_where_it_was(t: Test) {
    let server = t.start().await;
    let ada = server.create_user("ada@example.com").await;
    let bob = server.create_user("bob@example.com").await;
    let cleo = server.create_user("cleo@example.com").await;
    let mut watch = Watch::begin(&server, from_beginning()).await.unwrap();
    assert_eq!(watch.user().await, ada);
    let token = watch.token.clone();
    drop(watch);
    let renamed = rename(&server, &ada, "Ada").await;

    let mut resumed = Watch::begin(&server, after(&token)).await.unwrap();

    assert_eq!(resumed.user().await, bob);
    assert_eq!(resumed.user().await, cleo);
    // It was told before it changed.
    let mut copy = Copy::default();
    while copy.users.get(&ada.id) != Some(&renamed) {
        copy.apply(resumed.next().await);
    }
    resumed.catch_up().await;
}

async fn a_token_is_good_on_every_server_and_after_a_restart(t: Test) {
    let one = t.start().await;
    let other = t.start().await;
    let mut watch = Watch::now(&one).await;
    let ada = one.create_user("ada@example.com").await;
    assert_eq!(watch.change().await.user_id, ada.id);
    let token = watch.token.clone();
    let bob = one.create_user("bob@example.com").await;
    one.shutdown().await;

    let mut on_other = Watch::begin(&other, after(&token)).await.unwrap();
    assert_eq!(on_other.change().await.user_id, bob.id);
    other.shutdown().await;
    let again = t.start().await;
    let mut after_restart = Watch::begin(&again, after(&token)).await.unwrap();
    assert_eq!(after_restart.change().await.user_id, bob.id);
}

async fn g11_a_tampered_token_is_refused(t: Test) {
    let server = t.start().await;
    server.create_user("ada@example.com").await;
    let token = Watch::now(&server).await.token;
    for index in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
        let tampered = String::from_utf8(bytes).unwrap();
        // The last character has bits that count for nothing, which must then be as they were.
        assert_token_refused(&server, &tampered).await;
    }
    let page = identity::proto::identity::v1::ListUsersRequest {
        page_size: 1,
        ..Default::default()
    };
    server.create_user("bob@example.com").await;
    let page = crate::user_service::calls::list(&server, page).await.unwrap();
    for other in ["", "x", &token[1..], &format!("{token}A"), &page.next_page_token] {
        assert_token_refused(&server, other).await;
    }
    // Of a service with another key.
    let other = t.directory().join("other.db").display().to_string();
    let stranger = t
        .start_with(&[
            ("DATABASE_URL", &format!("sqlite://{other}")),
            (
                "IDENTITY_MASTER_KEY",
                "aWRlbnRpdHkgdGVzdHMgdXNlIHRoaXMga2V5IHRvby4=",
            ),
        ])
        .await;
    assert_token_refused(&stranger, &token).await;
}

/// The database has not come that far.
async fn g11_a_token_of_the_future_is_refused(t: Test) {
    let server = t.start().await;
    let token = match t.backend {
        Backend::Sqlite => {
            for number in 0..3 {
                server.create_user(&format!("{number}@example.com")).await;
            }
            let token = Watch::now(&server).await.token;
            t.sql(
                "DELETE FROM user_events; UPDATE sqlite_sequence SET seq = 1 WHERE name = 'user_events'",
            )
            .await
            .unwrap();
            assert_token_refused(&server, &token).await;
            return;
        }
        Backend::Postgres => {
            let many = "DO $$ BEGIN FOR i IN 1..5000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$";
            t.sql(many).await.unwrap();
            Watch::now(&server).await.token
        }
    };
    let cluster = PostgresCluster::start(&[]).await;
    let behind = t.start_with(&[("DATABASE_URL", &cluster.url("postgres"))]).await;
    assert_token_refused(&behind, &token).await;
}

/// As when a standby takes over that did not have the newest changes.
async fn g11_a_token_of_events_that_are_lost_is_refused(t: Test) {
    let server = t.start_with(&[CHECKPOINTS]).await;
    let mut watch = Watch::now(&server).await;
    server.create_user("ada@example.com").await;
    watch.change().await;
    let mut tokens = vec![watch.token.clone()];
    watch.checkpoint().await;
    tokens.push(watch.token.clone());
    tokens.push(Watch::now(&server).await.token);

    t.sql("DELETE FROM user_events").await.unwrap();

    for token in tokens {
        assert_token_refused(&server, &token).await;
    }
}

async fn g11_a_token_older_than_what_is_kept_has_expired(t: Test) {
    let server = t
        .start_with(&[
            ("IDENTITY_EVENT_RETENTION", "10d"),
            ("IDENTITY_WATCH_CHECKPOINT_INTERVAL", "1h"),
        ])
        .await;
    let mut watch = Watch::begin(&server, from_beginning()).await.unwrap();
    watch.catch_up().await;
    let token = watch.token.clone();
    drop(watch);
    server.clock.advance(TimeDelta::days(9));
    Watch::begin(&server, after(&token))
        .await
        .unwrap()
        .checkpoint()
        .await;

    server.clock.advance(TimeDelta::days(1));

    let failure = Watch::begin(&server, after(&token)).await.map(drop).unwrap_err();
    assert_eq!(failure.code(), Code::OutOfRange);
    assert_eq!(failure.reason(), "RESUME_TOKEN_EXPIRED");
    let mut anew = Watch::begin(&server, from_now()).await.unwrap();
    anew.catch_up().await;
}

async fn checkpoints_keep_a_token_young(t: Test) {
    let server = t
        .start_with(&[("IDENTITY_EVENT_RETENTION", "10d"), CHECKPOINTS])
        .await;
    let ada = server.create_user("ada@example.com").await;
    let mut watch = Watch::now(&server).await;
    // The second comes once the server follows the events. Before that, the stream may have to read on from where it
    // began, which would be too old.
    watch.checkpoint().await;
    server.clock.advance(TimeDelta::days(30));
    // The event is gone, and nothing happened since.
    t.sql("DELETE FROM user_events").await.unwrap();
    eventually("a checkpoint is younger", async || {
        watch.checkpoint().await;
        Watch::begin(&server, after(&watch.token)).await.is_ok()
    })
    .await;

    let renamed = rename(&server, &ada, "Ada").await;

    assert_eq!(watch.change().await.user.as_ref(), Some(&renamed));
    let token = watch.token.clone();
    let mut resumed = Watch::begin(&server, after(&token)).await.unwrap();
    resumed.checkpoint().await;
}

/// As when a backup is put in the place of the database.
async fn a_database_that_goes_back_ends_streams(t: Test) {
    let server = t.start().await;
    let mut watch = Watch::now(&server).await;
    server.create_user("ada@example.com").await;
    watch.change().await;

    t.sql("DELETE FROM user_events; UPDATE sqlite_sequence SET seq = 0 WHERE name = 'user_events'")
        .await
        .unwrap();

    let failure = watch.end().await;
    assert_eq!(failure.code(), Code::InvalidArgument);
    assert_eq!(failure.reason(), "INVALID_RESUME_TOKEN");
    let mut anew = Watch::begin(&server, from_beginning()).await.unwrap();
    anew.user().await;
    anew.catch_up().await;
}

async fn events_of_another_cluster_are_followed(t: Test) {
    let server = t.start().await;
    let ada = server.create_user("ada@example.com").await;
    let bob = server.create_user("bob@example.com").await;
    server.shutdown().await;
    // As a dump of a cluster that has had many more transactions has them.
    t.sql("UPDATE user_events SET transaction_id = (9000000000 + sequence)::text::xid8")
        .await
        .unwrap();

    let restored = t.start().await;

    let unseen = "SELECT count(*)::text AS value FROM user_events
                  WHERE transaction_id >= pg_snapshot_xmax(pg_current_snapshot())";
    assert_eq!(t.sql_value(unseen).await.as_deref(), Some("0"));

    let mut watch = Watch::begin(&restored, from_beginning()).await.unwrap();
    let mut copy = Copy::default();
    loop {
        let content = watch.next().await;
        if matches!(content, Content::Checkpoint(_)) {
            break;
        }
        copy.apply(content);
    }
    assert_eq!(copy.users, table(&restored).await.unwrap());
    let renamed = rename(&restored, &ada, "Ada").await;
    assert_eq!(watch.change().await.user, Some(renamed));
    rename(&restored, &bob, "Bob").await;
    watch.change().await;
}
