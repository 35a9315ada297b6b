//! The file of an SQLite database, and others who use it.

use std::fs;
use std::path::PathBuf;

use futures_util::future::join_all;
use tonic::Code;

use super::blocker::Blocker;
use super::rename;
use crate::support::{Behaviour, Test, eventually, new_user, sqlite_only};

pub fn tests() -> Vec<Behaviour> {
    sqlite_only![
        d18_two_servers_share_a_file,
        d18_a_server_starts_while_another_program_holds_the_lock,
        d18_reads_go_on_while_another_program_holds_the_lock,
        a_file_that_is_moved_away_is_not_made_anew,
        a_backup_taken_live_is_complete,
    ]
}

fn path(t: &Test) -> PathBuf {
    PathBuf::from(t.database_url().strip_prefix("sqlite://").unwrap())
}

async fn d18_two_servers_share_a_file(t: Test) {
    const USERS: usize = 100;
    let mut processes = [t.spawn(&[], &["serve"]), t.spawn(&[], &["serve"])];
    for process in &mut processes {
        process.wait_until_serving().await;
    }

    let outcomes = join_all((0..USERS).map(|number| {
        let user = new_user().email(&format!("user-{number}@example.com"));
        processes[number % 2].create(user)
    }))
    .await;

    for (number, outcome) in outcomes.into_iter().enumerate() {
        let user = outcome.unwrap();
        // The other server sees it at once.
        assert_eq!(processes[(number + 1) % 2].get(&user.id).await.unwrap(), user);
    }
}

async fn d18_a_server_starts_while_another_program_holds_the_lock(t: Test) {
    let server = t.start().await;
    let ada = server.create_user("ada@example.com").await;
    server.shutdown().await;
    let blocker = Blocker::of_users(&t).await;

    let again = t.start_with(&[("IDENTITY_DATABASE_BUSY_TIMEOUT", "50ms")]).await;

    assert_eq!(again.get(&ada.id).await.unwrap(), ada);
    blocker.release().await;
    rename(&again, &ada.id, "Ada").await.unwrap();
}

async fn d18_reads_go_on_while_another_program_holds_the_lock(t: Test) {
    let server = t.start_with(&[("IDENTITY_DATABASE_BUSY_TIMEOUT", "50ms")]).await;
    let ada = server.create_user("ada@example.com").await;
    let blocker = Blocker::of_users(&t).await;

    let failure = rename(&server, &ada.id, "Nobody").await.unwrap_err();

    assert_eq!(failure.code(), Code::Aborted, "{failure:?}");
    assert!(failure.retry_delay().is_some());
    for read in join_all((0..50).map(|_| server.get(&ada.id))).await {
        assert_eq!(read.unwrap(), ada);
    }
    assert!(server.is_serving().await);
    blocker.release().await;
    assert_eq!(rename(&server, &ada.id, "Ada").await.unwrap().full_name, "Ada");
}

async fn a_file_that_is_moved_away_is_not_made_anew(t: Test) {
    let server = t.start().await;
    let mut users = vec![server.create_user("ada@example.com").await];
    // A connection that has not read yet finds the journal by the name of the file.
    server.get(&users[0].id).await.unwrap();
    t.sql("PRAGMA wal_checkpoint(TRUNCATE)").await.unwrap();
    for round in 0..3 {
        let away = t.directory().join("away");
        fs::rename(path(&t), &away).unwrap();
        server.wait_until_not_serving().await;

        let outcome = server
            .create(new_user().email(&format!("round-{round}@example.com")))
            .await;

        assert!(
            !path(&t).exists(),
            "an empty database took the place of the other"
        );
        match outcome {
            // Written to the file, wherever it is.
            Ok(user) => users.push(user),
            Err(failure) => assert_eq!(failure.code(), Code::Unavailable, "{failure:?}"),
        }
        match server.get(&users[0].id).await {
            Ok(user) => assert_eq!(user, users[0]),
            Err(failure) => assert_eq!(failure.code(), Code::Unavailable, "{failure:?}"),
        }
        fs::rename(&away, path(&t)).unwrap();
        server.wait_until_serving().await;
        for user in &users {
            assert_eq!(server.get(&user.id).await.unwrap(), *user);
        }
        users.push(server.create_user(&format!("after-{round}@example.com")).await);
    }
    server.shutdown().await;

    let again = t.start().await;
    for user in &users {
        assert_eq!(again.get(&user.id).await.unwrap(), *user);
    }
}

async fn a_backup_taken_live_is_complete(t: Test) {
    let server = t.start().await;
    let ada = server.create_user("ada@example.com").await;
    let backup = t.directory().join("backup.db");
    let statement = format!("VACUUM INTO '{}'", backup.display());

    let (written, backed_up) =
        tokio::join!(
            join_all((0..20).map(|number| {
                server.create(new_user().email(&format!("user-{number}@example.com")))
            })),
            t.sql(&statement)
        );
    backed_up.unwrap();
    for outcome in written {
        outcome.unwrap();
    }

    let url = format!("sqlite://{}", backup.display());
    let restored = t.start_with(&[("DATABASE_URL", &url)]).await;
    assert_eq!(restored.get(&ada.id).await.unwrap(), ada);
    eventually("the restored server is written to", async || {
        rename(&restored, &ada.id, "Ada").await.is_ok()
    })
    .await;
}
