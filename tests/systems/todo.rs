//! The todo application on serverless PostgreSQL: connections, lists of users, migrations, replicas.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use futures_util::future::join_all;
use identity::config::{Settings, Sources};
use identity::proto::identity::v1::{GetStatusRequest, ListUsersRequest, PoolStatus, UserFilter};
use prost_types::Timestamp;

use super::calls::{deactivate, list, list_filtered};
use super::locks::WriteLock;
use super::plans::{plan_of_last_read, spawn_with_echo};
use super::rows::{FIRST_SECOND, fill};
use super::{migrate, migrate_down, migration_names, table_names};
use crate::support::{
    Behaviour, Clients, PostgresCluster, Proxy, Test, TestServer, behaviours, eventually, new_user,
    plain, postgres_only,
};

pub fn tests() -> Vec<Behaviour> {
    [
        postgres_only![
            todo_02_tls_to_the_database_can_be_required,
            todo_02_a_certificate_can_be_asked_for,
            todo_03_connecting_times_out,
            todo_03_a_stale_connection_is_noticed_before_it_is_used,
            todo_11_reads_go_to_a_replica_and_are_never_stale,
        ],
        plain![todo_03_connecting_times_out_after_10_seconds_by_default],
        behaviours![
            todo_04_the_pool_can_be_watched_while_running,
            todo_05_lists_in_the_order_of_creation_use_an_index,
            todo_05_the_prefix_of_an_email_uses_an_index,
            todo_06_pages_have_at_most_100_users_and_are_stable,
            todo_06_users_are_filtered_by_creation_state_and_email_prefix,
            todo_09_migrations_go_up_and_down_and_up,
            todo_09_reverting_never_loses_rows_by_accident,
            todo_09_eight_replicas_migrate_at_once,
        ],
    ]
    .concat()
}

/// The configuration of the application: users register with their emails.
pub const CONFIGURATION: &[(&str, &str)] = &[("IDENTITY_REQUIRED_PROFILE_FIELDS", "email")];

async fn start(t: &Test) -> TestServer {
    t.start_with(CONFIGURATION).await
}

async fn todo_02_tls_to_the_database_can_be_required(t: Test) {
    let cluster = PostgresCluster::start(&[]).await;
    let url = format!("{}?sslmode=require", cluster.url("postgres"));
    let variables = [
        ("DATABASE_URL", url.as_str()),
        ("IDENTITY_DATABASE_CONNECT_TIMEOUT", "1s"),
    ];
    // Never less than was asked for: without TLS on the other side there is no start.
    let mut without_tls = t.launch(&variables).await.unwrap();
    let error = without_tls.failed().await.to_string();
    assert!(error.starts_with("DATABASE_URL: "), "{error}");

    let (certificate, key) = certificate_for("localhost");
    cluster.enable_tls(&certificate, &key).await;
    let server = t.start_with(&variables[..1]).await;
    let ada = server.create_user("ada@example.com").await;

    assert_eq!(server.get(&ada.id).await.unwrap(), ada);
    assert_eq!(encrypted_connections(&cluster).await, ["t"]);
}

async fn todo_02_a_certificate_can_be_asked_for(t: Test) {
    let cluster = PostgresCluster::start(&[]).await;
    let (certificate, key) = certificate_for("127.0.0.1");
    let (other_certificate, _) = certificate_for("127.0.0.1");
    cluster.enable_tls(&certificate, &key).await;
    let url_with_root = |root: &str, name: &str| {
        let path = t.directory().join(name);
        fs::write(&path, root).unwrap();
        let (url, path) = (cluster.url("postgres"), path.display());
        format!("{url}?sslmode=verify-full&sslrootcert={path}")
    };

    let wrong_root = url_with_root(&other_certificate, "other.pem");
    let variables = [
        ("DATABASE_URL", wrong_root.as_str()),
        ("IDENTITY_DATABASE_CONNECT_TIMEOUT", "1s"),
    ];
    let mut refused = t.launch(&variables).await.unwrap();
    let error = refused.failed().await.to_string();
    assert!(error.starts_with("DATABASE_URL: "), "{error}");

    let right_root = url_with_root(&certificate, "root.pem");
    let server = t.start_with(&[("DATABASE_URL", &right_root)]).await;
    server.create_user("ada@example.com").await;
    assert_eq!(encrypted_connections(&cluster).await, ["t"]);
}

/// Makes a certificate that is its own authority, with its key.
fn certificate_for(host: &str) -> (String, String) {
    let certified = rcgen::generate_simple_self_signed([host.to_owned()]).unwrap();
    (certified.cert.pem(), certified.signing_key.serialize_pem())
}

/// Says of the service's connections whether they are encrypted, each answer once.
async fn encrypted_connections(cluster: &PostgresCluster) -> Vec<String> {
    let query = "SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
                 WHERE application_name = 'identity'";
    let rows = cluster.psql("postgres", query).await.unwrap();
    rows.into_iter().flatten().flatten().collect()
}

fn todo_03_connecting_times_out_after_10_seconds_by_default() {
    let settings = Settings::read(&Sources::from_pairs(&[])).unwrap();
    assert_eq!(settings.database.pool.connect_timeout, Duration::from_secs(10));
}

/// The server of the database takes the connection and says nothing: only a timeout ends the wait.
async fn todo_03_connecting_times_out(t: Test) {
    let proxy = Proxy::start(t.database_address()).await;
    proxy.black_hole();
    let url = t.database_url_via(proxy.address());
    let variables = [
        ("DATABASE_URL", url.as_str()),
        ("IDENTITY_DATABASE_CONNECT_TIMEOUT", "300ms"),
    ];

    let mut server = t.launch(&variables).await.unwrap();

    let error = server.failed().await.to_string();
    assert!(error.starts_with("DATABASE_URL: "), "{error}");
}

/// A connection that turns out to be dead while it is used would be made good, too, by doing the work once
/// more; the log would tell.
async fn todo_03_a_stale_connection_is_noticed_before_it_is_used(t: Test) {
    let variables = [
        ("IDENTITY_DATABASE_POOL_MIN_IDLE", "3"),
        ("IDENTITY_DATABASE_POOL_CHECK_AFTER_IDLE", "0s"),
        ("IDENTITY_LOG", "identity=debug"),
    ];
    let mut process = t.spawn(&variables, &["serve"]);
    process.wait_until_serving().await;
    process.wait_until_settled().await;
    for round in 0..5 {
        // The database has ended the connections, and waited until they are gone, before it answers.
        t.sql(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
             WHERE datname = current_database() AND application_name = 'identity'",
        )
        .await
        .unwrap();

        let user = process.create_user(&format!("{round}@example.com")).await;
        assert_eq!(process.get(&user.id).await.unwrap(), user);
    }
    let log = process.stderr();
    for repetition in ["reading once more", "trying a transaction again"] {
        assert!(!log.contains(repetition), "{log}");
    }
}

async fn todo_04_the_pool_can_be_watched_while_running(t: Test) {
    let server = t
        .start_with(&[
            ("IDENTITY_DATABASE_POOL_MAX_SIZE", "1"),
            ("IDENTITY_DATABASE_POOL_ACQUIRE_TIMEOUT", "30s"),
            ("IDENTITY_DATABASE_STATEMENT_TIMEOUT", "30s"),
            ("IDENTITY_DATABASE_LOCK_TIMEOUT", "30s"),
            ("IDENTITY_DATABASE_BUSY_TIMEOUT", "30s"),
        ])
        .await;
    let idle = eventually("nobody uses the pool", async || {
        let pool = writer_pool(&server).await;
        ((pool.size, pool.idle, pool.waiting) == (1, 1, 0)).then_some(pool)
    })
    .await;
    assert_eq!((idle.name.as_str(), idle.max_size), ("writer", 1));

    // One call holds the connection and waits for the lock; the others wait for the connection, perhaps
    // with the upkeep that begins when a server starts.
    let lock = WriteLock::take(&t).await;
    let create = |number| {
        let clients: Clients = (*server).clone();
        tokio::spawn(async move { clients.create_user(&format!("{number}@example.com")).await })
    };
    let mut calls = vec![create(0)];
    // Calls that come together could share a transaction.
    eventually("the first call has the connection", async || {
        writer_pool(&server).await.idle == 0
    })
    .await;
    calls.extend([create(1), create(2)]);
    eventually("two calls wait", async || {
        let pool = writer_pool(&server).await;
        (pool.size, pool.idle) == (1, 0) && pool.waiting >= 2
    })
    .await;

    lock.release().await;
    assert!(join_all(calls).await.iter().all(Result::is_ok));
    eventually("nobody waits", async || {
        let pool = writer_pool(&server).await;
        (pool.size, pool.idle, pool.waiting) == (1, 1, 0)
    })
    .await;
}

async fn writer_pool(server: &TestServer) -> PoolStatus {
    let response = server.status().get_status(GetStatusRequest {}).await.unwrap();
    response.into_inner().pools.swap_remove(0)
}

async fn todo_05_lists_in_the_order_of_creation_use_an_index(t: Test) {
    let process = spawn_with_echo(&t, CONFIGURATION).await;
    fill(&t, 2000).await;

    for order_by in ["create_time", "create_time desc"] {
        let request = ListUsersRequest {
            order_by: order_by.to_owned(),
            ..ListUsersRequest::default()
        };
        assert_eq!(list(&process, request).await.users.len(), 50);
        let plan = plan_of_last_read(&t, &process, "51").await;
        assert!(plan.contains("users_created_at_idx"), "{order_by}: {plan}");
        assert!(
            !plan.contains("Sort") && !plan.contains("TEMP B-TREE"),
            "{order_by}: {plan}"
        );
    }

    let filter = UserFilter {
        created_from: Some(second(1000)),
        created_before: Some(second(1010)),
        ..UserFilter::default()
    };
    let found = list_filtered(&process, filter).await;
    assert_eq!(found.len(), 10);
    let arguments = format!(
        "to_timestamp({0} + 1000), to_timestamp({0} + 1010), 101",
        FIRST_SECOND
    );
    let plan = plan_of_last_read(&t, &process, &arguments).await;
    assert!(plan.contains("users_created_at_idx"), "{plan}");
    assert!(!plan.contains("Seq Scan"), "{plan}");
}

async fn todo_05_the_prefix_of_an_email_uses_an_index(t: Test) {
    let process = spawn_with_echo(&t, CONFIGURATION).await;
    fill(&t, 2000).await;

    let filter = UserFilter {
        email_prefix: "Filler-0123".to_owned(),
        ..UserFilter::default()
    };
    let found = list_filtered(&process, filter).await;

    assert_eq!(found.len(), 10);
    let plan = plan_of_last_read(&t, &process, "'filler-0123', 'filler-0124', 101").await;
    assert!(
        plan.contains("users_email_prefix_idx") || plan.contains("users_email_normalized_key"),
        "{plan}"
    );
}

async fn todo_06_pages_have_at_most_100_users_and_are_stable(t: Test) {
    let server = start(&t).await;
    fill(&t, 250).await;
    for (domain, order_by) in [
        ("up.example", "create_time"),
        ("down.example", "create_time desc"),
    ] {
        let mut request = ListUsersRequest {
            page_size: 1000,
            order_by: order_by.to_owned(),
            ..ListUsersRequest::default()
        };
        let (mut sizes, mut seen) = (Vec::new(), Vec::new());
        loop {
            let page = list(&server, request.clone()).await;
            sizes.push(page.users.len());
            seen.extend(page.users.into_iter().map(|user| user.email));
            // Newer than all others, which would move the pages of an order that begins with the newest.
            let number = seen.len();
            server.create_user(&format!("{number}@{domain}")).await;
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        assert!(
            sizes.iter().all(|size| *size <= 100) && sizes[0] == 100,
            "{sizes:?}"
        );
        let distinct: BTreeSet<&String> = seen.iter().collect();
        assert_eq!(distinct.len(), seen.len(), "no user is listed twice");
        let fillers = distinct
            .iter()
            .filter(|email| email.starts_with("filler-"))
            .count();
        assert_eq!(fillers, 250, "no user is left out");
    }
}

async fn todo_06_users_are_filtered_by_creation_state_and_email_prefix(t: Test) {
    let server = start(&t).await;
    fill(&t, 200).await;
    let ada = server.create(new_user().email("ada@example.com")).await.unwrap();
    deactivate(&server, &ada.id).await;

    for (filter, expected) in [
        (
            UserFilter {
                created_from: Some(second(195)),
                ..UserFilter::default()
            },
            6,
        ),
        (
            UserFilter {
                created_before: Some(second(7)),
                ..UserFilter::default()
            },
            7,
        ),
        (
            UserFilter {
                is_active: Some(false),
                ..UserFilter::default()
            },
            21,
        ),
        (
            UserFilter {
                is_blocked: Some(true),
                ..UserFilter::default()
            },
            2,
        ),
        (
            UserFilter {
                email_prefix: "FILLER-0001".to_owned(),
                ..UserFilter::default()
            },
            10,
        ),
        (
            UserFilter {
                email_prefix: "a".to_owned(),
                ..UserFilter::default()
            },
            1,
        ),
        (
            UserFilter {
                email_prefix: "nobody".to_owned(),
                ..UserFilter::default()
            },
            0,
        ),
        (
            UserFilter {
                created_from: Some(second(50)),
                created_before: Some(second(100)),
                is_active: Some(true),
                is_blocked: Some(false),
                email_prefix: "filler-0005".to_owned(),
            },
            9,
        ),
    ] {
        let found = list_filtered(&server, filter.clone()).await;
        assert_eq!(found.len(), expected, "{filter:?}");
    }
}

async fn todo_09_migrations_go_up_and_down_and_up(t: Test) {
    for _ in 0..2 {
        let count = migration_names(t.backend).len();
        assert_eq!(migrate(&t, &["up"]).await.matches("applied ").count(), count);
        assert!(migrate(&t, &["up"]).await.starts_with("nothing to apply"));
        migrate(&t, &["verify"]).await;
        assert_eq!(migrate_down(&t).await.matches("reverted ").count(), count);
        assert!(migrate_down(&t).await.starts_with("nothing to revert"));
    }
    // What is left is what the migrations are remembered in.
    assert_eq!(
        table_names(&t).await,
        ["__diesel_schema_migrations", "migration_checksums"]
    );
}

async fn todo_09_reverting_never_loses_rows_by_accident(t: Test) {
    let server = start(&t).await;
    server.create_user("ada@example.com").await;
    server.shutdown().await;
    t.sql("DELETE FROM signing_keys; DELETE FROM user_events")
        .await
        .unwrap();
    let count = migration_names(t.backend).len().to_string();
    let down = ["migrate", "down", "--steps", &count];

    let (code, _, stderr) = t.run(&[], &down).await;
    assert_eq!(code, 1);
    assert!(stderr.contains("would lose the rows of users"), "{stderr}");
    assert_eq!(
        t.sql_value("SELECT count(*) AS value FROM users")
            .await
            .as_deref(),
        Some("1")
    );

    let (forced, _, complaint) = t.run(&[], &[&down[..], &["--force"]].concat()).await;
    assert_eq!(forced, 0, "{complaint}");
    assert!(!table_names(&t).await.contains(&"users".to_owned()));
}

async fn todo_09_eight_replicas_migrate_at_once(t: Test) {
    let arguments = ["migrate", "up"];
    let outcomes = join_all((0..8).map(|_| t.run(&[], &arguments))).await;

    let mut applied = 0;
    for (code, stdout, stderr) in outcomes {
        assert_eq!(code, 0, "{stdout}{stderr}");
        applied += stdout.matches("applied ").count();
    }
    assert_eq!(
        applied,
        migration_names(t.backend).len(),
        "each migration is applied once"
    );
    migrate(&t, &["verify"]).await;
}

async fn todo_11_reads_go_to_a_replica_and_are_never_stale(t: Test) {
    let primary = PostgresCluster::start(&[]).await;
    let replica = primary.basebackup_replica().await;
    let (primary_url, replica_url) = (primary.url("postgres"), replica.url("postgres"));
    let server = t
        .start_with(&[
            ("DATABASE_URL", &primary_url),
            ("DATABASE_REPLICA_URL", &replica_url),
        ])
        .await;
    let ada = server.create_user("ada@example.com").await;
    eventually("the replica has caught up and answers", async || {
        assert_eq!(server.get(&ada.id).await.unwrap(), ada);
        reads_from(&server, "replica").await > 0
    })
    .await;

    replica
        .psql("postgres", "SELECT pg_wal_replay_pause()")
        .await
        .unwrap();
    let before = reads_from(&server, "replica").await;
    for round in 0..5 {
        let user = server.create_user(&format!("{round}@example.com")).await;
        assert_eq!(server.get(&user.id).await.unwrap(), user);
    }
    assert_eq!(
        reads_from(&server, "replica").await,
        before,
        "the replica lags and is passed over"
    );

    replica
        .psql("postgres", "SELECT pg_wal_replay_resume()")
        .await
        .unwrap();
    eventually("the replica answers again", async || {
        server.get(&ada.id).await.unwrap();
        reads_from(&server, "replica").await > before
    })
    .await;
}

/// Returns how many reads the primary or the replica has answered.
async fn reads_from(server: &TestServer, name: &str) -> u64 {
    let (_, metrics) = server.http_get("/metrics").await;
    let label = format!("server=\"{name}\"");
    let line = metrics
        .lines()
        .find(|line| line.contains("database_reads_total") && line.contains(&label));
    line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

/// The moment when the user of [`fill`] with this number was created.
fn second(number: i64) -> Timestamp {
    Timestamp {
        seconds: FIRST_SECOND + number,
        nanos: 0,
    }
}
