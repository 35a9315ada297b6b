//! Servers that start on databases in any state.

use std::fs;

use super::{MIGRATIONS, count, migrate, serve_in_vain};
use crate::support::{Backend, Behaviour, PostgresCluster, Process, Test, behaviours, postgres_only};

pub fn tests() -> Vec<Behaviour> {
    [
        behaviours![
            m01_eight_servers_start_at_once_on_an_empty_database,
            m01_servers_and_commands_migrate_at_once,
            a_server_that_may_not_migrate_refuses_and_says_what_to_do,
            a_server_that_may_not_migrate_serves_a_migrated_database,
        ],
        postgres_only![
            m07_a_role_that_may_not_change_the_schema_serves,
            m07_a_role_that_may_not_change_the_schema_does_not_migrate,
        ],
    ]
    .concat()
}

/// How many servers start at once.
const SERVERS: usize = 8;

/// How often they do: which of them is first differs from time to time.
const ROUNDS: usize = 4;

async fn m01_eight_servers_start_at_once_on_an_empty_database(t: Test) {
    for round in 0..ROUNDS {
        empty(&t).await;

        let mut servers: Vec<Process> = (0..SERVERS).map(|_| t.spawn(&[], &["serve"])).collect();
        for server in &mut servers {
            server.wait_until_serving().await;
        }

        for (number, server) in servers.iter().enumerate() {
            server.create_user(&format!("user-{number}@example.com")).await;
        }
        let logs: String = servers.iter().map(|server| server.output()).collect();
        for name in MIGRATIONS {
            let applied = logs
                .lines()
                .filter(|line| line.contains("migration applied") && line.contains(name))
                .count();
            assert_eq!(applied, 1, "round {round}, {name}:\n{logs}");
        }
        let records = t
            .sql_values("SELECT name AS value FROM migration_checksums ORDER BY version")
            .await;
        assert_eq!(records, MIGRATIONS.map(|name| Some(name.to_owned())));
        assert_eq!(
            t.sql_value("SELECT count(*) AS value FROM __diesel_schema_migrations")
                .await
                .as_deref(),
            Some(count().as_str())
        );
    }
}

async fn m01_servers_and_commands_migrate_at_once(t: Test) {
    let mut server = t.spawn(&[], &["serve"]);
    let mut commands: Vec<Process> = (0..3).map(|_| t.spawn(&[], &["migrate", "up"])).collect();

    server.wait_until_serving().await;
    for command in &mut commands {
        let status = command.wait().await;
        assert!(status.success(), "{}", command.output());
    }

    migrate(&t, &["verify"]).await;
    server.create_user("ada@example.com").await;
}

async fn a_server_that_may_not_migrate_refuses_and_says_what_to_do(t: Test) {
    let refusal = serve_in_vain(&t, &[("IDENTITY_MIGRATE", "off")]).await;
    assert!(refusal.contains("identity migrate up"), "{refusal}");
    assert!(
        refusal.contains(&format!("{} migrations are pending", count())),
        "{refusal}"
    );

    migrate(&t, &["up"]).await;
    migrate(&t, &["down"]).await;

    let second_refusal = serve_in_vain(&t, &[("IDENTITY_MIGRATE", "off")]).await;
    assert!(
        second_refusal.contains("1 migrations are pending"),
        "{second_refusal}"
    );
    assert!(migrate(&t, &["status"]).await.contains("pending: 1"));
}

async fn a_server_that_may_not_migrate_serves_a_migrated_database(t: Test) {
    migrate(&t, &["up"]).await;

    let server = t.start_with(&[("IDENTITY_MIGRATE", "off")]).await;

    server.create_user("ada@example.com").await;
}

async fn m07_a_role_that_may_not_change_the_schema_serves(t: Test) {
    let (cluster, clerk_url) = cluster_with_clerk().await;
    let owner_url = cluster.url("app");
    let (code, _, stderr) = t.run(&[("DATABASE_URL", &owner_url)], &["migrate", "up"]).await;
    assert_eq!(code, 0, "{stderr}");
    cluster
        .psql(
            "app",
            "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO clerk;
             REVOKE INSERT, UPDATE, DELETE ON migration_checksums FROM clerk",
        )
        .await
        .unwrap();

    let server = t.start_with(&[("DATABASE_URL", &clerk_url)]).await;

    let ada = server.create_user("ada@example.com").await;
    assert_eq!(server.get(&ada.id).await.unwrap(), ada);
    let (clerk_code, stdout, complaint) =
        t.run(&[("DATABASE_URL", &clerk_url)], &["migrate", "up"]).await;
    assert_eq!(clerk_code, 0, "{complaint}");
    assert!(stdout.contains("nothing to apply"), "{stdout}");
}

async fn m07_a_role_that_may_not_change_the_schema_does_not_migrate(t: Test) {
    let (_cluster, clerk_url) = cluster_with_clerk().await;

    let refusal = serve_in_vain(&t, &[("DATABASE_URL", &clerk_url)]).await;

    assert!(refusal.contains("permission denied"), "{refusal}");
}

/// Starts a cluster with a database `app` and a role `clerk` that may not change its schema.
async fn cluster_with_clerk() -> (PostgresCluster, String) {
    let cluster = PostgresCluster::start(&[]).await;
    cluster.psql("postgres", "CREATE DATABASE app").await.unwrap();
    cluster
        .psql(
            "app",
            "CREATE ROLE clerk LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC",
        )
        .await
        .unwrap();
    let clerk_url = cluster.url("app").replace("postgres@", "clerk@");
    (cluster, clerk_url)
}

/// Makes the database as it was before the first server.
async fn empty(t: &Test) {
    match t.backend {
        Backend::Postgres => t
            .sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
            .await
            .unwrap(),
        Backend::Sqlite => {
            let url = t.database_url();
            let path = url.strip_prefix("sqlite://").unwrap();
            for suffix in ["", "-wal", "-shm"] {
                // Those that a clean end leaves nothing of are not there.
                let _ = fs::remove_file(format!("{path}{suffix}"));
            }
        }
    }
}
