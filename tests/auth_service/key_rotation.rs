//! Signing keys over time: rotated by age and by hand, on several servers at once, given up, and seen by servers
//! whose clocks differ.

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use identity::clock::Clock;
use identity::proto::identity::v1::SigningKey;

use super::PROMPT;
use super::forged_tokens::assert_refused;
use crate::support::{
    Behaviour, Clients, Forger, PASSWORD, Test, TestServer, behaviours, claims_of, eventually, kid_of,
};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        t17_servers_that_start_at_once_make_one_key,
        t17_servers_that_find_a_key_too_old_at_once_make_one_successor,
        t17_a_rotation_refuses_no_token_on_any_server,
        t17_a_key_is_published_before_it_signs_and_until_its_last_token_has_expired,
        t17_rotations_by_hand_at_once_leave_one_key_that_signs,
        t17_a_rotation_that_is_killed_leaves_one_key_that_signs,
        t17_a_key_gets_a_successor_at_the_configured_age,
        t18_nothing_that_a_revoked_key_signed_is_good_on_any_server,
        t18_after_the_only_key_is_revoked_another_signs,
        t18_a_revoked_key_stays_revoked,
        l10_a_clock_that_steps_back_before_the_first_key_does_not_stop_sign_ins,
    ]
}

/// How long a key is published before it signs.
const LEAD: TimeDelta = TimeDelta::minutes(10);

async fn kids(t: &Test) -> Vec<String> {
    let query = "SELECT kid AS value FROM signing_keys ORDER BY activates_at, kid";
    t.sql_values(query).await.into_iter().flatten().collect()
}

fn time(time: Option<prost_types::Timestamp>) -> Option<DateTime<Utc>> {
    let time = time?;
    DateTime::from_timestamp(time.seconds, u32::try_from(time.nanos).unwrap())
}

/// Returns the keys that sign at a time, of those that are published.
fn signing_at(keys: &[SigningKey], now: DateTime<Utc>) -> Vec<&str> {
    keys.iter()
        .filter(|key| time(key.activate_time).unwrap() <= now)
        .filter(|key| time(key.retire_time).is_none_or(|end| now < end))
        .map(|key| key.kid.as_str())
        .collect()
}

/// Checks that one key signs at every moment from now on, and that one is the newest.
fn assert_one_signs(keys: &[SigningKey], now: DateTime<Utc>) {
    let newest = keys.iter().filter(|key| key.retire_time.is_none()).count();
    assert_eq!(newest, 1, "{keys:?}");
    let changes = keys.iter().filter_map(|key| time(key.activate_time));
    for change in changes.chain([now]).filter(|change| *change >= now) {
        for moment in [
            change - TimeDelta::microseconds(1),
            change,
            change + TimeDelta::microseconds(1),
        ] {
            if moment >= now {
                assert_eq!(signing_at(keys, moment).len(), 1, "at {moment}: {keys:?}");
            }
        }
    }
}

async fn wait_for_keys(server: &Clients, count: usize) -> Vec<SigningKey> {
    eventually("the keys have been read again", async || {
        let keys = server.signing_keys().await;
        (keys.len() == count).then_some(keys)
    })
    .await
}

async fn rotate(t: &Test) {
    let (code, stdout, stderr) = t.run(&[], &["keys", "rotate"]).await;
    assert_eq!(code, 0, "{stdout} {stderr}");
}

async fn t17_servers_that_start_at_once_make_one_key(t: Test) {
    let servers: Vec<TestServer> = join_all((0..6).map(|_| t.start_with(&[PROMPT]))).await;

    assert_eq!(kids(&t).await.len(), 1);
    let (_, tokens) = servers[0].signed_in("ada@example.com").await;
    for server in &servers {
        assert_one_signs(&server.signing_keys().await, server.clock.now());
        assert!(server.is_active(&tokens.access_token).await);
    }
}

async fn t17_servers_that_find_a_key_too_old_at_once_make_one_successor(t: Test) {
    let settings = [PROMPT, ("IDENTITY_SIGNING_KEY_LIFETIME", "1h")];
    let servers: Vec<TestServer> = join_all((0..6).map(|_| t.start_with(&settings))).await;
    let first = kids(&t).await;

    t.clock.advance(TimeDelta::hours(1));

    for server in &servers {
        let keys = wait_for_keys(server, 2).await;
        assert_one_signs(&keys, t.clock.now());
        assert_eq!(keys[0].kid, first[0]);
    }
    // Each has looked at least once more when each has seen what came of the first look.
    assert_eq!(kids(&t).await.len(), 2);
    for server in &servers {
        let (_, tokens) = server
            .signed_in(&format!("{}@example.com", uuid::Uuid::now_v7()))
            .await;
        assert_eq!(kid_of(&tokens.access_token), first[0], "until the other is known");
    }
}

async fn t17_a_rotation_refuses_no_token_on_any_server(t: Test) {
    let settings = [PROMPT, ("IDENTITY_ACCESS_TOKEN_LIFETIME", "1h")];
    let here = t.start_with(&settings).await;
    let there = t.start_with(&settings).await;
    let mut tokens = Vec::new();
    let mut sign_ins = 0;
    let mut issue = async |out: &mut Vec<String>| {
        for server in [&here, &there] {
            sign_ins += 1;
            let (_, mut issued) = server.signed_in(&format!("user{sign_ins}@example.com")).await;
            for _ in 0..10 {
                out.push(issued.access_token);
                issued = server.refresh(&issued.refresh_token).await.unwrap();
            }
        }
    };
    let assert_all_good = async |out: &[String]| {
        for token in out {
            assert!(here.is_active(token).await && there.is_active(token).await);
        }
    };

    issue(&mut tokens).await;
    rotate(&t).await;
    // One server or the other may not know yet.
    issue(&mut tokens).await;
    assert_all_good(&tokens).await;
    for server in [&here, &there] {
        assert_one_signs(&wait_for_keys(server, 2).await, t.clock.now());
    }
    t.clock.advance(LEAD - TimeDelta::seconds(30));
    issue(&mut tokens).await;
    assert_all_good(&tokens).await;
    t.clock.advance(TimeDelta::seconds(30));
    let before = tokens.len();
    issue(&mut tokens).await;
    assert_all_good(&tokens).await;

    let [old, new] = kids(&t).await.try_into().unwrap();
    let (first, last) = tokens.split_at(before);
    assert!(first.iter().all(|token| kid_of(token) == old));
    assert!(last.iter().all(|token| kid_of(token) == new));
}

async fn t17_a_key_is_published_before_it_signs_and_until_its_last_token_has_expired(t: Test) {
    let settings = [PROMPT, ("IDENTITY_ACCESS_TOKEN_LIFETIME", "30m")];
    let here = t.start_with(&settings).await;
    let there = t.start_with(&settings).await;
    let (_, old) = here.signed_in("ada@example.com").await;
    let old_forger = Forger::with_key_of_service(&t).await;
    let old_kid = kid_of(&old.access_token);

    let before = t.clock.now();
    rotate(&t).await;

    let keys = wait_for_keys(&here, 2).await;
    assert_eq!(wait_for_keys(&there, 2).await, keys);
    assert_eq!(keys[0].kid, old_kid);
    let handover = time(keys[1].activate_time).unwrap();
    assert!(handover >= before + LEAD && handover <= t.clock.now() + LEAD);
    // It is there, and does not sign yet.
    let issued = there.sign_in("ada@example.com", PASSWORD).await.unwrap();
    assert_eq!(kid_of(&issued.access_token), old_kid);
    t.clock.advance(LEAD - TimeDelta::seconds(30));
    let last = here.sign_in("ada@example.com", PASSWORD).await.unwrap();
    assert_eq!(kid_of(&last.access_token), old_kid);

    t.clock.advance(TimeDelta::seconds(30));
    for server in [&here, &there] {
        let next = server.sign_in("ada@example.com", PASSWORD).await.unwrap();
        assert_eq!(kid_of(&next.access_token), keys[1].kid);
    }
    // The old key is there for as long as it is needed.
    t.clock.advance(TimeDelta::minutes(29));
    for server in [&here, &there] {
        assert!(server.is_active(&last.access_token).await);
        assert_eq!(server.signing_keys().await, keys);
    }
    t.clock.advance(TimeDelta::minutes(1));
    assert_refused(&here, &last.access_token, "TOKEN_EXPIRED").await;
    t.clock.advance(TimeDelta::minutes(5));
    for server in [&here, &there] {
        assert_eq!(server.signing_keys().await, keys[1..]);
    }
    // T03: what has retired signs nothing any more, also for somebody who has the key.
    let next = here.sign_in("ada@example.com", PASSWORD).await.unwrap();
    let late = old_forger.sign(&claims_of(&next.access_token));
    assert_refused(&there, &late, "TOKEN_INVALID").await;
    assert!(there.is_active(&next.access_token).await);
}

async fn t17_rotations_by_hand_at_once_leave_one_key_that_signs(t: Test) {
    let server = t.start_with(&[PROMPT]).await;
    let first = kids(&t).await.remove(0);
    let mut commands: Vec<Vec<&str>> = vec![vec!["keys", "rotate"]; 6];
    commands.push(vec!["keys", "revoke", &first]);

    let outcomes = join_all(commands.iter().map(|command| t.run(&[], command))).await;

    for (code, stdout, stderr) in outcomes {
        assert_eq!(code, 0, "{stdout} {stderr}");
    }
    // A key for each rotation, and one more if the first was revoked when there was no other yet.
    let count = kids(&t).await.len();
    assert!((7..=8).contains(&count), "{count}");
    eventually("the server knows", async || {
        let keys = server.signing_keys().await;
        keys.len() >= 6 && keys.iter().all(|key| key.kid != first)
    })
    .await;
    let keys = server.signing_keys().await;
    assert_one_signs(&keys, t.clock.now());
    let (_, tokens) = server.signed_in("ada@example.com").await;
    assert!(server.is_active(&tokens.access_token).await);
}

async fn t17_a_rotation_that_is_killed_leaves_one_key_that_signs(t: Test) {
    let server = t.start_with(&[PROMPT]).await;
    let (_, tokens) = server.signed_in("ada@example.com").await;
    let mut finished = 0;

    for round in 0..25 {
        let mut command = t.spawn(&[], &["keys", "rotate"]);
        // Each round lets it come a little further.
        for _ in 0..round {
            assert!(server.is_active(&tokens.access_token).await);
        }
        command.kill_9();
        finished += usize::from(!command.stdout().is_empty());
        let newest = "SELECT count(*) AS value FROM signing_keys WHERE retires_at IS NULL";
        assert_eq!(t.sql_value(newest).await.as_deref(), Some("1"));
    }

    // Each key ends exactly when the next one begins, all the way.
    let ends = "SELECT count(*) AS value FROM signing_keys AS one WHERE retires_at IS NOT NULL AND NOT EXISTS \
                (SELECT 1 FROM signing_keys AS next WHERE next.activates_at = one.retires_at)";
    assert_eq!(t.sql_value(ends).await.as_deref(), Some("0"));
    let count = kids(&t).await.len();
    assert!(count > finished, "what was reported is there");
    let keys = wait_for_keys(&server, count).await;
    assert_one_signs(&keys, t.clock.now());
    rotate(&t).await;
    wait_for_keys(&server, count + 1).await;
}

async fn t17_a_key_gets_a_successor_at_the_configured_age(t: Test) {
    let server = t
        .start_with(&[PROMPT, ("IDENTITY_SIGNING_KEY_LIFETIME", "48h")])
        .await;
    let first = kids(&t).await;
    t.clock.advance(TimeDelta::hours(48) - TimeDelta::minutes(1));
    // The key is looked at when a server starts, so that nothing needs to be waited for.
    drop(
        t.start_with(&[PROMPT, ("IDENTITY_SIGNING_KEY_LIFETIME", "48h")])
            .await,
    );
    assert_eq!(kids(&t).await, first, "not a minute before");

    t.clock.advance(TimeDelta::minutes(1));

    let keys = wait_for_keys(&server, 2).await;
    assert_eq!(keys[0].kid, first[0]);
    assert_one_signs(&keys, t.clock.now());
    let (_, old) = server.signed_in("ada@example.com").await;
    assert_eq!(kid_of(&old.access_token), first[0]);
    t.clock.advance(LEAD);
    let new = server.sign_in("ada@example.com", PASSWORD).await.unwrap();
    assert_eq!(kid_of(&new.access_token), keys[1].kid);

    // The age of the next one is counted from when it began to sign.
    t.clock.advance(TimeDelta::hours(48) - TimeDelta::minutes(1));
    drop(
        t.start_with(&[PROMPT, ("IDENTITY_SIGNING_KEY_LIFETIME", "48h")])
            .await,
    );
    assert_eq!(kids(&t).await.len(), 2);
    t.clock.advance(TimeDelta::minutes(1));
    eventually("there is a third key", async || kids(&t).await.len() == 3).await;
}

async fn t18_nothing_that_a_revoked_key_signed_is_good_on_any_server(t: Test) {
    let here = t.start_with(&[PROMPT]).await;
    let there = t.start_with(&[PROMPT]).await;
    let (_, old) = here.signed_in("ada@example.com").await;
    let stolen = Forger::with_key_of_service(&t).await;
    rotate(&t).await;
    for server in [&here, &there] {
        wait_for_keys(server, 2).await;
    }
    let forged = stolen.sign(&claims_of(&old.access_token));
    assert!(there.is_active(&forged).await, "it is a good forgery");

    let (code, _, stderr) = t.run(&[], &["keys", "revoke", &stolen.kid]).await;
    assert_eq!(code, 0, "{stderr}");

    // At once: nobody has been waited for.
    for server in [&there, &here] {
        for token in [&old.access_token, &forged] {
            assert!(!server.is_active(token).await);
            server.get_me(token).await.unwrap_err();
        }
    }
    for server in [&there, &here] {
        let keys = wait_for_keys(server, 1).await;
        assert_ne!(keys[0].kid, stolen.kid);
        assert_one_signs(&keys, t.clock.now());
        let (_, page) = server.http_get("/.well-known/jwks.json").await;
        assert!(
            !page.contains(&stolen.kid) && page.contains(&keys[0].kid),
            "{page}"
        );
        assert_refused(server, &forged, "TOKEN_INVALID").await;
    }
    // The session was not stolen: it goes on with the next key, which signs from now on.
    let next = there.refresh(&old.refresh_token).await.unwrap();
    assert_ne!(kid_of(&next.access_token), stolen.kid);
    assert!(here.is_active(&next.access_token).await);
}

async fn t18_after_the_only_key_is_revoked_another_signs(t: Test) {
    let server = t.start_with(&[PROMPT]).await;
    let (_, old) = server.signed_in("ada@example.com").await;
    let first = kid_of(&old.access_token);

    assert_eq!(t.run(&[], &["keys", "revoke", &first]).await.0, 0);

    assert!(!server.is_active(&old.access_token).await);
    let next = eventually("tokens are good again", async || {
        let tokens = server.sign_in("ada@example.com", PASSWORD).await.unwrap();
        server.is_active(&tokens.access_token).await.then_some(tokens)
    })
    .await;
    assert_ne!(kid_of(&next.access_token), first);
    assert_eq!(server.signing_keys().await.len(), 1);
}

async fn t18_a_revoked_key_stays_revoked(t: Test) {
    let first = t.start_with(&[PROMPT]).await;
    let (_, old) = first.signed_in("ada@example.com").await;
    let kid = kid_of(&old.access_token);
    assert_eq!(t.run(&[], &["keys", "revoke", &kid]).await.0, 0);

    rotate(&t).await;
    let restarted = t.start_with(&[PROMPT]).await;

    assert_refused(&restarted, &old.access_token, "TOKEN_INVALID").await;
    assert!(restarted.signing_keys().await.iter().all(|key| key.kid != kid));
    t.clock.advance(TimeDelta::hours(-1));
    assert_refused(&restarted, &old.access_token, "TOKEN_INVALID").await;
}

/// As on a replica whose clock is behind that of the one which made the key, be it by a second.
async fn l10_a_clock_that_steps_back_before_the_first_key_does_not_stop_sign_ins(t: Test) {
    let server = t.start_with(&[PROMPT]).await;
    server.create_with_password("ada@example.com").await;
    for step in [TimeDelta::seconds(-2), TimeDelta::hours(-1)] {
        t.clock.advance(step);
        let tokens = server.sign_in("ada@example.com", PASSWORD).await.unwrap();
        assert!(server.is_active(&tokens.access_token).await);
    }
    // Nor after a rotation: the key that would sign first does.
    rotate(&t).await;
    wait_for_keys(&server, 2).await;
    let tokens = server.sign_in("ada@example.com", PASSWORD).await.unwrap();
    assert_eq!(kid_of(&tokens.access_token), kids(&t).await[0]);
    assert!(server.is_active(&tokens.access_token).await);
    // Nor with a key that was revoked before it began.
    let first = kids(&t).await.remove(0);
    assert_eq!(t.run(&[], &["keys", "revoke", &first]).await.0, 0);
    let keys = wait_for_keys(&server, 1).await;
    let next = server.sign_in("ada@example.com", PASSWORD).await.unwrap();
    assert_eq!(kid_of(&next.access_token), keys[0].kid);
    assert!(server.is_active(&next.access_token).await);
}
