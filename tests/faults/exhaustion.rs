//! Locks of other programs, and pools without a free connection.

use futures_util::future::join_all;
use tonic::Code;

use super::blocker::Blocker;
use super::{one_has_begun, pool, read_alone, rename};
use crate::support::{Backend, Behaviour, Failure, Test, behaviours, eventually, postgres_only};

pub fn tests() -> Vec<Behaviour> {
    [
        behaviours![
            d07_callers_wait_in_line_and_are_all_served,
            d07_callers_fail_fast_while_the_database_is_locked,
            d18_a_lock_that_is_held_for_long_ends_the_wait_before_the_deadline,
            x15_a_call_without_a_deadline_ends_at_the_deadline_of_the_server,
        ],
        postgres_only![
            d07_a_statement_that_takes_too_long_is_ended,
            d07_every_connection_is_fine_after_timeouts,
        ],
    ]
    .concat()
}

/// Checks that a caller is told to try again later.
fn assert_temporary(failure: &Failure) {
    let reason = failure.reason();
    assert!(
        matches!(
            (failure.code(), reason.as_str()),
            (Code::Unavailable, "DATABASE_UNAVAILABLE") | (Code::Aborted, "CONCURRENT_CHANGE")
        ),
        "{failure:?}"
    );
    assert!(failure.retry_delay().is_some(), "{failure:?}");
}

async fn d07_callers_wait_in_line_and_are_all_served(t: Test) {
    const CALLS: usize = 12;
    let server = t
        .start_with(&[
            ("IDENTITY_DATABASE_POOL_MAX_SIZE", "3"),
            ("IDENTITY_DATABASE_POOL_ACQUIRE_TIMEOUT", "60s"),
            ("IDENTITY_DATABASE_LOCK_TIMEOUT", "60s"),
            ("IDENTITY_DATABASE_STATEMENT_TIMEOUT", "60s"),
            ("IDENTITY_DATABASE_BUSY_TIMEOUT", "60s"),
            ("IDENTITY_MAX_DEADLINE", "60s"),
        ])
        .await;
    let ada = server.create_user("ada@example.com").await;
    let blocker = Blocker::of_users(&t).await;
    // SQLite has one writer.
    let connections = match t.backend {
        Backend::Sqlite => 1,
        Backend::Postgres => 3,
    };

    let names: Vec<String> = (1..CALLS).map(|number| format!("Ada {number}")).collect();
    let first = rename(&server, &ada.id, "Ada");
    let others = async {
        one_has_begun(&server).await;
        join_all(names.iter().map(|name| rename(&server, &ada.id, name))).await
    };
    let (first, outcomes, ()) = tokio::join!(first, others, async {
        eventually("all calls wait", async || {
            let writer = pool(&server, "writer").await;
            let in_use = writer.size - writer.idle;
            in_use == connections && writer.waiting == i32::try_from(CALLS).unwrap() - connections
        })
        .await;
        blocker.release().await;
    });

    first.unwrap();
    for outcome in outcomes {
        outcome.unwrap();
    }
    let writer = pool(&server, "writer").await;
    assert_eq!((writer.waiting, writer.size - writer.idle), (0, 0));
    let version = t.sql_value("SELECT version AS value FROM users").await;
    assert_eq!(version, Some((CALLS + 1).to_string()));
}

async fn d07_callers_fail_fast_while_the_database_is_locked(t: Test) {
    let server = t
        .start_with(&[
            ("IDENTITY_DATABASE_POOL_MAX_SIZE", "2"),
            ("IDENTITY_DATABASE_POOL_ACQUIRE_TIMEOUT", "200ms"),
            ("IDENTITY_DATABASE_LOCK_TIMEOUT", "300ms"),
            ("IDENTITY_DATABASE_BUSY_TIMEOUT", "300ms"),
        ])
        .await;
    let ada = server.create_user("ada@example.com").await;
    for round in 0..3 {
        let blocker = Blocker::of_users(&t).await;

        let outcomes = join_all((0..8).map(|_| rename(&server, &ada.id, "Nobody"))).await;

        for outcome in outcomes {
            assert_temporary(&outcome.unwrap_err());
        }
        match (t.backend, server.get(&ada.id).await) {
            (Backend::Sqlite, read) => drop(read.unwrap()),
            (Backend::Postgres, read) => assert_temporary(&read.unwrap_err()),
        }
        blocker.release().await;
        let name = format!("Ada {round}");
        let renamed = rename(&server, &ada.id, &name).await.unwrap();
        assert_eq!(renamed.full_name, name);
    }
}

/// With the settings as they are by default: an attempt that has waited until the database gave up is not
/// repeated until the caller gives up, too.
async fn d18_a_lock_that_is_held_for_long_ends_the_wait_before_the_deadline(t: Test) {
    let server = t.start().await;
    let ada = server.create_user("ada@example.com").await;
    let blocker = Blocker::of_users(&t).await;

    let failure = rename(&server, &ada.id, "Nobody").await.unwrap_err();

    assert_eq!(failure.code(), Code::Aborted, "{failure:?}");
    assert_temporary(&failure);
    blocker.release().await;
    rename(&server, &ada.id, "Ada").await.unwrap();
    server.wait_until_serving().await;
}

async fn x15_a_call_without_a_deadline_ends_at_the_deadline_of_the_server(t: Test) {
    let server = t
        .start_with(&[
            ("IDENTITY_MAX_DEADLINE", "200ms"),
            ("IDENTITY_DATABASE_LOCK_TIMEOUT", "60s"),
            ("IDENTITY_DATABASE_STATEMENT_TIMEOUT", "60s"),
            ("IDENTITY_DATABASE_BUSY_TIMEOUT", "60s"),
        ])
        .await;
    let ada = server.create_user("ada@example.com").await;
    let blocker = Blocker::of_users(&t).await;

    let failure = rename(&server, &ada.id, "Ada").await.unwrap_err();

    assert_eq!(failure.code(), Code::DeadlineExceeded, "{failure:?}");
    assert_eq!(failure.reason(), "DEADLINE_EXCEEDED");
    blocker.release().await;
    eventually("the connection is free again", async || {
        let writer = pool(&server, "writer").await;
        writer.size == writer.idle
    })
    .await;
    server.get(&ada.id).await.unwrap();
}

async fn d07_a_statement_that_takes_too_long_is_ended(t: Test) {
    let server = t
        .start_with(&[("IDENTITY_DATABASE_STATEMENT_TIMEOUT", "200ms")])
        .await;
    let ada = server.create_user("ada@example.com").await;
    t.sql(
        "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN PERFORM pg_sleep(60); RETURN NEW; END; $$;
         CREATE TRIGGER dawdle BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION dawdle()",
    )
    .await
    .unwrap();

    let failure = rename(&server, &ada.id, "Nobody").await.unwrap_err();

    assert_eq!(failure.code(), Code::Unavailable, "{failure:?}");
    assert_temporary(&failure);
    t.sql("DROP TRIGGER dawdle ON users").await.unwrap();
    assert_eq!(rename(&server, &ada.id, "Ada").await.unwrap().full_name, "Ada");
}

/// A connection that was left in a failed or an open transaction would spoil the calls that follow.
async fn d07_every_connection_is_fine_after_timeouts(t: Test) {
    let server = t
        .start_with(&[
            ("IDENTITY_DATABASE_POOL_MAX_SIZE", "4"),
            ("IDENTITY_DATABASE_LOCK_TIMEOUT", "100ms"),
            ("IDENTITY_DATABASE_STATEMENT_TIMEOUT", "200ms"),
        ])
        .await;
    let ada = server.create_user("ada@example.com").await;
    let blocker = Blocker::of_users(&t).await;
    for failed in join_all((0..16).map(|_| rename(&server, &ada.id, "Nobody"))).await {
        assert_temporary(&failed.unwrap_err());
    }
    blocker.release().await;

    for read in join_all((0..16).map(|_| read_alone(&server, &ada.id))).await {
        assert_eq!(read.unwrap(), ada);
    }

    let open = super::backends(&t, "state LIKE 'idle in transaction%'").await;
    assert_eq!(open, Vec::<String>::new());
    rename(&server, &ada.id, "Ada").await.unwrap();
}
