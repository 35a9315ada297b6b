//! The settings of the connection pools: each of them takes effect.

use futures_util::future::join_all;
use tonic::Code;

use super::blocker::Blocker;
use super::{backends, pool, read_alone, rename};
use crate::support::{
    Backend, Behaviour, Process, Proxy, Test, behaviours, eventually, new_user, postgres_only,
};

pub fn tests() -> Vec<Behaviour> {
    [
        behaviours![
            csl_04_steady_connections_are_kept_open,
            csl_04_a_waiting_call_gives_up_after_the_acquire_timeout,
            csl_04_connections_are_checked_before_each_use_if_asked_to,
            todo_04_the_state_of_the_pools_can_be_read,
        ],
        postgres_only![
            csl_04_there_are_never_more_connections_than_allowed,
            csl_04_connections_are_replaced_when_they_are_too_old,
            csl_04_connections_beyond_the_steady_ones_are_closed_when_idle,
            todo_03_connecting_gives_up_after_the_connect_timeout,
            todo_03_a_stale_connection_is_noticed_before_it_is_used,
        ],
    ]
    .concat()
}

/// The probe has a connection of its own.
const PROBES: usize = 1;

async fn csl_04_steady_connections_are_kept_open(t: Test) {
    for min_idle in [2, 5] {
        let server = t
            .start_with(&[("IDENTITY_DATABASE_POOL_MIN_IDLE", &min_idle.to_string())])
            .await;
        let name = match t.backend {
            Backend::Sqlite => "reader",
            Backend::Postgres => "writer",
        };

        // Up to two more are opened for the work of the start.
        let steady = min_idle..=min_idle + 2;
        eventually("the connections are open", async || {
            let pool = pool(&server, name).await;
            steady.contains(&pool.size) && pool.size == pool.idle
        })
        .await;

        if t.backend == Backend::Postgres {
            eventually("the database has as many", async || {
                let size = usize::try_from(pool(&server, name).await.size).unwrap();
                backends(&t, "TRUE").await.len() == size + PROBES
            })
            .await;
        }
        server.shutdown().await;
        if t.backend == Backend::Postgres {
            eventually("they are closed at the end", async || {
                backends(&t, "TRUE").await.is_empty()
            })
            .await;
        }
    }
}

async fn csl_04_there_are_never_more_connections_than_allowed(t: Test) {
    const CALLS: usize = 20;
    let server = t
        .start_with(&[
            ("IDENTITY_DATABASE_POOL_MIN_IDLE", "1"),
            ("IDENTITY_DATABASE_POOL_MAX_SIZE", "4"),
            ("IDENTITY_DATABASE_POOL_ACQUIRE_TIMEOUT", "60s"),
            ("IDENTITY_DATABASE_LOCK_TIMEOUT", "60s"),
            ("IDENTITY_DATABASE_STATEMENT_TIMEOUT", "60s"),
            ("IDENTITY_MAX_DEADLINE", "60s"),
        ])
        .await;
    let ada = server.create_user("ada@example.com").await;
    server.wait_until_settled().await;
    let blocker = Blocker::of_users(&t).await;

    let (reads, ()) = tokio::join!(
        join_all((0..CALLS).map(|_| read_alone(&server, &ada.id))),
        async {
            eventually("all others wait for a connection", async || {
                let writer = pool(&server, "writer").await;
                assert!(writer.size <= 4, "{writer:?}");
                writer.waiting == i32::try_from(CALLS).unwrap() - 4
            })
            .await;
            assert_eq!(backends(&t, "wait_event_type = 'Lock'").await.len(), 4);
            blocker.release().await;
        }
    );

    for read in reads {
        assert_eq!(read.unwrap(), ada);
    }
}

async fn csl_04_connections_are_replaced_when_they_are_too_old(t: Test) {
    let server = t
        .start_with(&[
            ("IDENTITY_DATABASE_POOL_MIN_IDLE", "3"),
            ("IDENTITY_DATABASE_POOL_MAX_LIFETIME", "1s"),
        ])
        .await;
    let ada = server.create_user("ada@example.com").await;
    let old = eventually("the connections are open", async || {
        let pids = backends(&t, "TRUE").await;
        (pids.len() >= 3 + PROBES).then_some(pids)
    })
    .await;

    eventually("every connection is another one", async || {
        // Nobody notices.
        assert_eq!(server.get(&ada.id).await.unwrap(), ada);
        let present = backends(&t, "TRUE").await;
        let remaining = old.iter().filter(|pid| present.contains(pid)).count();
        present.len() >= 3 + PROBES && remaining <= PROBES
    })
    .await;
}

async fn csl_04_connections_beyond_the_steady_ones_are_closed_when_idle(t: Test) {
    let server = t
        .start_with(&[
            ("IDENTITY_DATABASE_POOL_MIN_IDLE", "1"),
            ("IDENTITY_DATABASE_POOL_MAX_SIZE", "6"),
            ("IDENTITY_DATABASE_POOL_IDLE_TIMEOUT", "1s"),
        ])
        .await;
    let ada = server.create_user("ada@example.com").await;
    // If they were closed only when others are looked for, half a minute apart, the rounds would not end in time.
    for _ in 0..5 {
        let blocker = Blocker::of_users(&t).await;
        let (reads, ()) = tokio::join!(join_all((0..6).map(|_| read_alone(&server, &ada.id))), async {
            eventually("the load opens more", async || {
                pool(&server, "writer").await.size == 6
            })
            .await;
            blocker.release().await;
        });
        for read in reads {
            assert_eq!(read.unwrap(), ada);
        }

        eventually("the others are closed", async || {
            pool(&server, "writer").await.size == 1 && backends(&t, "TRUE").await.len() == 1 + PROBES
        })
        .await;
    }
}

async fn csl_04_a_waiting_call_gives_up_after_the_acquire_timeout(t: Test) {
    let server = t
        .start_with(&[
            ("IDENTITY_DATABASE_POOL_MAX_SIZE", "1"),
            ("IDENTITY_DATABASE_POOL_ACQUIRE_TIMEOUT", "300ms"),
            ("IDENTITY_DATABASE_LOCK_TIMEOUT", "60s"),
            ("IDENTITY_DATABASE_STATEMENT_TIMEOUT", "60s"),
            ("IDENTITY_DATABASE_BUSY_TIMEOUT", "60s"),
            ("IDENTITY_MAX_DEADLINE", "60s"),
        ])
        .await;
    let ada = server.create_user("ada@example.com").await;
    server.wait_until_settled().await;
    let blocker = Blocker::of_users(&t).await;

    let (first, ()) = tokio::join!(rename(&server, &ada.id, "First"), async {
        eventually("the connection is taken", async || {
            let writer = pool(&server, "writer").await;
            (writer.size, writer.idle) == (1, 0)
        })
        .await;
        let failure = rename(&server, &ada.id, "Second").await.unwrap_err();
        assert_eq!(failure.code(), Code::Unavailable, "{failure:?}");
        assert_eq!(failure.reason(), "DATABASE_UNAVAILABLE");
        assert!(failure.retry_delay().is_some());
        blocker.release().await;
    });

    assert_eq!(first.unwrap().full_name, "First");
}

/// How many checks of connections a server has logged.
fn checks(server: &Process) -> usize {
    let output = server.output();
    let is_check = |line: &&str| line.contains("identity::sql") && line.contains("SELECT 1\"");
    output.lines().filter(is_check).count()
}

async fn csl_04_connections_are_checked_before_each_use_if_asked_to(t: Test) {
    const READS: usize = 30;
    for (check_after_idle, is_checked) in [("0s", true), ("1h", false)] {
        let mut server = t.spawn(
            &[
                ("IDENTITY_DATABASE_POOL_CHECK_AFTER_IDLE", check_after_idle),
                ("IDENTITY_DATABASE_ECHO", "on"),
                // Probes would be counted, too.
                ("IDENTITY_HEALTH_INTERVAL", "1h"),
                ("IDENTITY_LOG_FORMAT", "json"),
            ],
            &["serve"],
        );
        server.wait_until_serving().await;
        let email = format!("{check_after_idle}@example.com");
        let ada = server.create_user(&email).await;
        let before = checks(&server);

        for _ in 0..READS {
            server.get(&ada.id).await.unwrap();
        }
        server.terminate();
        assert!(server.wait().await.success());

        // The server itself reads its signing keys now and then, which is checked as well.
        let expected = if is_checked { READS..2 * READS } else { 0..1 };
        let counted = checks(&server) - before;
        assert!(expected.contains(&counted), "{counted}: {}", server.output());
    }
}

async fn todo_03_connecting_gives_up_after_the_connect_timeout(t: Test) {
    let proxy = Proxy::start(t.database_address()).await;
    proxy.black_hole();
    let url = t.database_url_via(proxy.address());

    let (code, _, stderr) = t
        .run(
            &[
                ("DATABASE_URL", &url),
                ("IDENTITY_DATABASE_CONNECT_TIMEOUT", "300ms"),
            ],
            &["serve"],
        )
        .await;

    assert_eq!(code, 1, "{stderr}");
    let last_line = stderr.lines().last().unwrap();
    assert!(last_line.contains("DATABASE_URL"), "{last_line}");
    assert!(last_line.contains("connecting took too long"), "{last_line}");
}

/// The network forgets idle connections without a word; who uses one waits until the check gives up on it,
/// and is then served on another.
async fn todo_03_a_stale_connection_is_noticed_before_it_is_used(t: Test) {
    let proxy = Proxy::start(t.database_address()).await;
    let server = t
        .start_with(&[
            ("DATABASE_URL", &t.database_url_via(proxy.address())),
            ("IDENTITY_DATABASE_POOL_CHECK_AFTER_IDLE", "0s"),
            ("IDENTITY_DATABASE_POOL_ACQUIRE_TIMEOUT", "20s"),
        ])
        .await;
    let ada = server.create_user("ada@example.com").await;
    for round in 0..5 {
        proxy.black_hole();
        let (created, ()) = tokio::join!(
            server.create(new_user().email(&format!("{round}@example.com"))),
            async {
                eventually("the check waits for its answer", async || {
                    pool(&server, "writer").await.waiting == 1
                })
                .await;
                proxy.cut();
                proxy.forward();
            }
        );
        created.unwrap();
        assert_eq!(server.get(&ada.id).await.unwrap(), ada);
    }
}

async fn todo_04_the_state_of_the_pools_can_be_read(t: Test) {
    let server = t.start_with(&[("IDENTITY_DATABASE_POOL_MAX_SIZE", "7")]).await;
    server.create_user("ada@example.com").await;

    let writer = pool(&server, "writer").await;

    let expected = match t.backend {
        Backend::Sqlite => 1,
        Backend::Postgres => 7,
    };
    assert_eq!(writer.max_size, expected);
    assert!(writer.size >= 1 && writer.idle <= writer.size && writer.waiting == 0);
    let metrics = server.http_get("/metrics").await.1;
    for line in [
        "identity_database_pool_connections{pool=\"writer\",state=\"idle\"}",
        "identity_database_pool_connections{pool=\"writer\",state=\"in_use\"}",
        "identity_database_pool_waiting{pool=\"writer\"} 0",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
    if t.backend == Backend::Sqlite {
        assert_eq!(pool(&server, "reader").await.max_size, 7);
    }
}
