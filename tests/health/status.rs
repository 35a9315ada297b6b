//! `identity.v1.StatusService/GetStatus`.

use identity::proto::identity::v1::{DatabaseKind, GetStatusRequest, GetStatusResponse};

use super::outage::Outage;
use crate::support::{Backend, Behaviour, Clients, Test, behaviours, eventually};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        todo_04_the_status_tells_version_database_pools_migrations_and_hashing,
        the_status_answers_while_the_database_is_away,
        the_uptime_grows_with_the_clock,
    ]
}

async fn todo_04_the_status_tells_version_database_pools_migrations_and_hashing(t: Test) {
    let settings = [
        ("IDENTITY_HASHING_THREADS", "3"),
        ("IDENTITY_HASHING_QUEUE", "7"),
        ("IDENTITY_DATABASE_POOL_MAX_SIZE", "4"),
    ];
    let server = t.start_with(&settings).await;
    server.create_user("ada@example.com").await;

    let status = status(&server).await;

    assert_eq!(status.version, env!("CARGO_PKG_VERSION"));
    assert!(status.start_time.is_some() && status.uptime.is_some());
    let database = status.database.unwrap();
    let kind = match t.backend {
        Backend::Sqlite => DatabaseKind::Sqlite,
        Backend::Postgres => DatabaseKind::Postgresql,
    };
    assert_eq!((database.kind(), database.connected), (kind, true));
    assert!(database.latency.is_some() && database.probe_time.is_some());
    let pools: Vec<(&str, i32)> = status
        .pools
        .iter()
        .map(|pool| (pool.name.as_str(), pool.max_size))
        .collect();
    match t.backend {
        // SQLite has one writer at a time.
        Backend::Sqlite => assert_eq!(pools, [("writer", 1), ("reader", 4)]),
        Backend::Postgres => assert_eq!(pools, [("writer", 4)]),
    }
    for pool in &status.pools {
        assert!(
            (0..=pool.size).contains(&pool.idle) && pool.size <= pool.max_size,
            "{pool:?}"
        );
        assert_eq!(pool.waiting, 0, "{pool:?}");
    }
    assert!(status.pools[0].size >= 1, "{:?}", status.pools);
    let migrations = status.migrations.unwrap();
    assert!(migrations.applied[0].contains("create_users"), "{migrations:?}");
    assert!(migrations.applied.is_sorted(), "{migrations:?}");
    assert!(migrations.pending.is_empty(), "{migrations:?}");
    let hashing = status.hashing.unwrap();
    assert_eq!(
        (
            hashing.concurrency,
            hashing.capacity,
            hashing.running,
            hashing.waiting
        ),
        // Four on each thread.
        (12, 7, 0, 0)
    );
}

async fn the_status_answers_while_the_database_is_away(t: Test) {
    let outage = Outage::of(&t).await;
    let server = outage.start_server(&t, &[]).await;

    outage.begin();
    server.wait_until_not_serving().await;
    let away = status(&server).await;
    outage.end();

    let database = away.database.unwrap();
    assert!(!database.connected);
    assert!(
        database.latency.is_some(),
        "that of the last probe which was answered"
    );
    assert!(away.migrations.is_none(), "nobody can tell");
    assert_eq!(away.version, env!("CARGO_PKG_VERSION"));
    eventually("the status says that the database is back", async || {
        let status = status(&server).await;
        status.database.unwrap().connected && status.migrations.is_some()
    })
    .await;
}

async fn the_uptime_grows_with_the_clock(t: Test) {
    let server = t.start().await;
    let before = status(&server).await;

    server.clock.advance(chrono::TimeDelta::hours(2));

    let after = status(&server).await;
    let seconds = after.uptime.unwrap().seconds - before.uptime.unwrap().seconds;
    assert!(seconds >= 7200, "{seconds}");
    assert_eq!(after.start_time, before.start_time);
}

async fn status(clients: &Clients) -> GetStatusResponse {
    let response = clients.status().get_status(GetStatusRequest {}).await.unwrap();
    response.into_inner()
}
