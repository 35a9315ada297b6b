//! The program in a process of its own.

use std::fs;
use std::os::unix::process::ExitStatusExt;

use crate::support::{Behaviour, Test, behaviours};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        a_process_serves_until_it_is_ended,
        a_process_can_be_run_to_its_end
    ]
}

async fn a_process_serves_until_it_is_ended(t: Test) {
    let mut killed = t.spawn(&[], &["serve"]);
    killed.wait_until_serving().await;
    let ada = killed.create_user("ada@example.com").await;
    killed.kill_9();
    assert_eq!(killed.wait().await.signal(), Some(9));

    let mut terminated = t.spawn(&[("IDENTITY_LOG", "info")], &["serve"]);
    terminated.wait_until_serving().await;
    assert_eq!(terminated.get(&ada.id).await.unwrap(), ada);
    terminated.terminate();

    assert!(terminated.wait().await.success(), "{}", terminated.output());
    assert!(!terminated.output().is_empty());
}

async fn a_process_can_be_run_to_its_end(t: Test) {
    fs::write(t.directory().join(".env"), "IDENTITY_HEALTH_FAILURES=none").unwrap();

    let (code, _, stderr) = t.run(&[("IDENTITY_BCRYPT_COST", "99")], &["serve"]).await;

    assert_eq!(code, 64);
    assert!(stderr.contains("IDENTITY_BCRYPT_COST"), "{stderr}");
    assert!(stderr.contains("IDENTITY_HEALTH_FAILURES"), "{stderr}");
    assert!(!t.data_dir().exists());
}
