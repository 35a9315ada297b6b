//! Databases whose migrations are not those of the program.

use super::{MIGRATIONS, migrate, migrate_in_vain, serve_in_vain};
use crate::support::{Backend, Behaviour, Test, behaviours};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        m04_an_edited_migration_is_refused_by_name,
        m05_a_newer_database_is_refused,
        a_migration_that_fails_leaves_nothing_behind,
    ]
}

async fn m04_an_edited_migration_is_refused_by_name(t: Test) {
    migrate(&t, &["up"]).await;
    t.sql(&format!(
        "UPDATE migration_checksums SET checksum = '00' WHERE name = '{}'",
        MIGRATIONS[0]
    ))
    .await
    .unwrap();

    let mut refusals = vec![
        serve_in_vain(&t, &[]).await,
        serve_in_vain(&t, &[("IDENTITY_MIGRATE", "off")]).await,
    ];
    for arguments in [&["up"][..], &["down"], &["status"], &["history"]] {
        refusals.push(migrate_in_vain(&t, arguments).await);
    }

    for refusal in refusals {
        assert!(refusal.contains(MIGRATIONS[0]), "{refusal}");
        assert!(!refusal.contains(MIGRATIONS[1]), "{refusal}");
    }
}

async fn m05_a_newer_database_is_refused(t: Test) {
    migrate(&t, &["up"]).await;
    let now = match t.backend {
        Backend::Sqlite => "0",
        Backend::Postgres => "now()",
    };
    t.sql(&format!(
        "INSERT INTO migration_checksums (version, name, checksum, applied_at)
         VALUES ('99991231000001', '9999-12-31-000001_far_future', '00', {now})"
    ))
    .await
    .unwrap();

    let mut refusals = vec![
        serve_in_vain(&t, &[]).await,
        serve_in_vain(&t, &[("IDENTITY_MIGRATE", "off")]).await,
    ];
    for arguments in [&["up"][..], &["down"], &["status"]] {
        refusals.push(migrate_in_vain(&t, arguments).await);
    }

    for refusal in refusals {
        assert!(refusal.contains("9999-12-31-000001_far_future"), "{refusal}");
        assert!(refusal.contains("newer"), "{refusal}");
    }
}

/// The record of the first migration is gone but its table is not: applying it again cannot work, and must
/// leave everything as it was.
async fn a_migration_that_fails_leaves_nothing_behind(t: Test) {
    let server = t.start().await;
    let ada = server.create_user("ada@example.com").await;
    server.shutdown().await;
    let row = "FROM migration_checksums WHERE name LIKE '%create_users'";
    t.sql(&format!("CREATE TABLE kept AS SELECT * {row}; DELETE {row}"))
        .await
        .unwrap();

    let refusal = serve_in_vain(&t, &[]).await;

    assert!(refusal.contains(MIGRATIONS[0]), "{refusal}");
    t.sql("INSERT INTO migration_checksums SELECT * FROM kept; DROP TABLE kept")
        .await
        .unwrap();
    let again = t.start().await;
    assert_eq!(again.get(&ada.id).await.unwrap(), ada);
}
