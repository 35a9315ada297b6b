//! The token of the administrator on the embedded database.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tonic::Code;

use crate::support::{AUTH, Behaviour, Test, behaviours, eventually, postgres_only, sqlite_only};

pub fn tests() -> Vec<Behaviour> {
    [
        behaviours![a_database_with_tokens_gets_no_other],
        sqlite_only![
            the_first_start_writes_it_for_its_owner_alone,
            later_starts_leave_it_alone,
            servers_that_start_at_once_mean_the_same_token,
            a_token_that_was_written_and_not_stored_is_stored,
            a_file_that_is_something_else_is_named,
            without_authorization_there_is_none,
        ],
        postgres_only![the_log_says_how_to_make_the_first_token],
    ]
    .concat()
}

fn token_of(t: &Test) -> String {
    fs::read_to_string(t.data_dir().join("admin.token"))
        .expect("the file")
        .trim_end()
        .to_owned()
}

async fn the_first_start_writes_it_for_its_owner_alone(t: Test) {
    let server = t.start_with(&[AUTH]).await;
    let path = t.data_dir().join("admin.token");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let admin = server.with_token(&token_of(&t));
    let ada = admin.create_user("ada@example.com").await;
    assert_eq!(admin.get(&ada.id).await.unwrap(), ada);
    assert_eq!(
        server.get(&ada.id).await.unwrap_err().code(),
        Code::Unauthenticated
    );
    let names: Vec<String> = fs::read_dir(t.data_dir())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("token"))
        .collect();
    assert_eq!(names, ["admin.token"], "no draft is left");
}

async fn later_starts_leave_it_alone(t: Test) {
    drop(t.start_with(&[AUTH]).await);
    let token = token_of(&t);
    let server = t.start_with(&[AUTH]).await;
    assert_eq!(token_of(&t), token);
    server.with_token(&token).create_user("ada@example.com").await;
    // Whoever removes the file has put the token elsewhere.
    fs::remove_file(t.data_dir().join("admin.token")).unwrap();
    drop(server);
    t.start_with(&[AUTH]).await;
    assert!(!t.data_dir().join("admin.token").exists());
}

async fn servers_that_start_at_once_mean_the_same_token(t: Test) {
    let mut processes: Vec<_> = (0..4).map(|_| t.spawn(&[AUTH], &["serve"])).collect();
    for process in &mut processes {
        process.wait_until_serving().await;
    }
    let token = token_of(&t);
    assert_eq!(t.service_tokens().list_with_hashes().await.unwrap().len(), 1);
    for (number, process) in processes.iter().enumerate() {
        let admin = process.with_token(&token);
        admin.create_user(&format!("user{number}@example.com")).await;
    }
}

async fn a_token_that_was_written_and_not_stored_is_stored(t: Test) {
    // As after a crash between the two.
    drop(t.start_with(&[AUTH]).await);
    let token = token_of(&t);
    t.sql("DELETE FROM service_tokens").await.unwrap();
    let server = t.start_with(&[AUTH]).await;
    assert_eq!(token_of(&t), token);
    server.with_token(&token).create_user("ada@example.com").await;
}

async fn a_file_that_is_something_else_is_named(t: Test) {
    fs::create_dir_all(t.data_dir()).unwrap();
    fs::write(t.data_dir().join("admin.token"), "shopping list").unwrap();
    let (code, _, stderr) = t.run(&[AUTH], &["serve"]).await;
    assert_eq!(code, 1);
    assert!(
        stderr.contains("IDENTITY_DATA_DIR: ") && stderr.contains("admin.token"),
        "{stderr}"
    );
    assert!(!stderr.contains("shopping"), "{stderr}");
}

async fn without_authorization_there_is_none(t: Test) {
    t.start().await;
    assert!(!t.data_dir().join("admin.token").exists());
    assert_eq!(t.service_tokens().list_with_hashes().await.unwrap().len(), 0);
}

async fn a_database_with_tokens_gets_no_other(t: Test) {
    assert_eq!(t.run(&[], &["migrate", "up"]).await.0, 0);
    let token = t.service_token("todo", &["users.write"]).await;
    let server = t.start_with(&[AUTH]).await;
    assert!(!t.data_dir().join("admin.token").exists());
    server.with_token(&token).create_user("ada@example.com").await;
    assert_eq!(t.service_tokens().list_with_hashes().await.unwrap().len(), 1);
}

async fn the_log_says_how_to_make_the_first_token(t: Test) {
    let mut process = t.spawn(&[AUTH], &["serve"]);
    process.wait_until_serving().await;
    eventually("the log says it", async || {
        process.stderr().contains("identity service-token create")
    })
    .await;
    assert!(!t.data_dir().join("admin.token").exists());
}
