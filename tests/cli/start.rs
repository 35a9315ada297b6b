//! `identity serve`: starts, and why there is none.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use crate::support::{Behaviour, Test, behaviours, postgres_only, sqlite_only};

pub fn tests() -> Vec<Behaviour> {
    [
        behaviours![
            a09_a_key_that_somebody_forgot_to_replace_is_refused,
            o05_a_port_in_use_fails_with_one_line_that_names_the_variable,
            o05_an_unreadable_key_fails_with_one_line_that_names_the_variable,
            b06_a_key_file_that_everyone_can_read_is_refused,
            the_log_is_json_when_it_is_not_on_a_terminal,
            the_log_can_be_text,
            sigterm_ends_the_server_with_success,
            without_a_command_it_serves,
            pending_migrations_stop_the_start_when_they_are_not_to_be_applied,
        ],
        postgres_only![
            postgresql_without_a_master_key_fails_and_says_how_to_make_one,
            o05_an_unreachable_server_fails_with_one_line_that_names_the_variable,
        ],
        sqlite_only![
            the_first_start_makes_what_nobody_else_may_read,
            beyond_loopback_is_refused,
            a_folder_that_cannot_be_made_fails_and_names_the_variable
        ],
    ]
    .concat()
}

/// The start failed, and said why in one line.
fn assert_failed(outcome: &(i32, String, String), variable: &str) {
    let (code, stdout, stderr) = outcome;
    assert!(*code != 0, "{stderr}");
    assert_eq!(stdout, "");
    let lines: Vec<&str> = stderr.lines().filter(|line| !line.starts_with('{')).collect();
    assert_eq!(lines.len(), 1, "{stderr}");
    assert!(lines[0].contains(variable), "{stderr}");
}

async fn o05_a_port_in_use_fails_with_one_line_that_names_the_variable(t: Test) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    for variable in ["IDENTITY_LISTEN", "IDENTITY_OPERATIONS_LISTEN"] {
        let outcome = t.run(&[(variable, &address)], &["serve"]).await;
        assert_failed(&outcome, variable);
        assert!(outcome.2.contains(&address), "{}", outcome.2);
    }
}

async fn o05_an_unreadable_key_fails_with_one_line_that_names_the_variable(t: Test) {
    let directory = t.directory().display().to_string();
    let broken = t.directory().join("broken.key");
    fs::write(&broken, "canary").unwrap();
    fs::set_permissions(&broken, fs::Permissions::from_mode(0o600)).unwrap();
    for path in [
        format!("{directory}/nowhere/master.key"),
        directory,
        broken.display().to_string(),
    ] {
        let variables = [
            ("IDENTITY_MASTER_KEY", ""),
            ("IDENTITY_MASTER_KEY_FILE", path.as_str()),
        ];
        let outcome = t.run(&variables, &["serve"]).await;
        assert_failed(&outcome, "IDENTITY_MASTER_KEY_FILE");
        assert!(!outcome.2.contains("canary"), "{}", outcome.2);
    }
}

async fn b06_a_key_file_that_everyone_can_read_is_refused(t: Test) {
    let path = t.directory().join("master.key");
    fs::write(&path, "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n").unwrap();
    let file = path.display().to_string();
    let variables = [
        ("IDENTITY_MASTER_KEY", ""),
        ("IDENTITY_MASTER_KEY_FILE", file.as_str()),
    ];

    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let outcome = t.run(&variables, &["serve"]).await;
    assert_failed(&outcome, "IDENTITY_MASTER_KEY_FILE");

    // As Kubernetes mounts secrets: readable by the group.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o440)).unwrap();
    let mut process = t.spawn(&variables, &["serve"]);
    process.wait_until_serving().await;
}

async fn the_log_is_json_when_it_is_not_on_a_terminal(t: Test) {
    let mut process = t.spawn(&[], &["serve"]);
    process.wait_until_serving().await;
    process.terminate();
    process.wait().await;

    let stderr = process.stderr();
    let events: Vec<Value> = stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    for event in &events {
        for key in ["timestamp", "level", "fields", "target"] {
            assert!(event.get(key).is_some(), "{key}: {event}");
        }
    }
    let listening = events
        .iter()
        .find(|event| event["fields"]["message"] == "listening")
        .unwrap();
    assert_eq!(listening["fields"]["grpc"], process.grpc_address().to_string());
    assert!(
        events.iter().any(|event| event["fields"]["message"] == "ended"),
        "{stderr}"
    );
    assert_eq!(process.stdout(), "", "standard output is for what commands print");
}

async fn the_log_can_be_text(t: Test) {
    let mut process = t.spawn(&[("IDENTITY_LOG_FORMAT", "text")], &["serve"]);
    process.wait_until_serving().await;

    let stderr = process.stderr();
    assert!(
        stderr.contains("listening") && !stderr.contains("{\""),
        "{stderr}"
    );
}

async fn sigterm_ends_the_server_with_success(t: Test) {
    let mut process = t.spawn(&[], &["serve"]);
    process.wait_until_serving().await;
    process.create_user("ada@example.com").await;

    process.terminate();

    let status = process.wait().await;
    assert_eq!(status.code(), Some(0), "{}", process.output());
    assert!(!process.is_serving().await);
}

async fn without_a_command_it_serves(t: Test) {
    let mut process = t.spawn(&[], &[]);
    process.wait_until_serving().await;
    assert_eq!(
        process.create_user("ada@example.com").await.email,
        "ada@example.com"
    );
}

async fn pending_migrations_stop_the_start_when_they_are_not_to_be_applied(t: Test) {
    let off = [("IDENTITY_MIGRATE", "off")];
    let outcome = t.run(&off, &["serve"]).await;
    assert_failed(&outcome, "IDENTITY_MIGRATE");
    assert!(outcome.2.contains("identity migrate up"), "{}", outcome.2);

    assert_eq!(t.run(&[], &["migrate", "up"]).await.0, 0);
    let mut process = t.spawn(&off, &["serve"]);
    process.wait_until_serving().await;
}

async fn postgresql_without_a_master_key_fails_and_says_how_to_make_one(t: Test) {
    let outcome = t.run(&[("IDENTITY_MASTER_KEY", "")], &["serve"]).await;

    assert_failed(&outcome, "IDENTITY_MASTER_KEY");
    assert!(outcome.2.contains("openssl rand -base64 32"), "{}", outcome.2);
    assert!(!t.data_dir().exists());
}

async fn a09_a_key_that_somebody_forgot_to_replace_is_refused(t: Test) {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    for placeholder in [
        STANDARD.encode([0; 32]),
        STANDARD.encode([b'x'; 32]),
        STANDARD.encode([0; 16]),
        "changeme".to_owned(),
        "0".repeat(44),
    ] {
        let (code, _, stderr) = t.run(&[("IDENTITY_MASTER_KEY", &placeholder)], &["serve"]).await;
        assert_eq!(code, 64, "{placeholder}");
        assert!(stderr.contains("IDENTITY_MASTER_KEY: "), "{stderr}");
        assert!(!stderr.contains(&placeholder), "{stderr}");
    }
    assert!(!t.data_dir().exists());
}

async fn o05_an_unreachable_server_fails_with_one_line_that_names_the_variable(t: Test) {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("postgres://ada:canary@{closed}/x");
    let variables = [
        ("DATABASE_URL", url.as_str()),
        ("IDENTITY_DATABASE_CONNECT_TIMEOUT", "300ms"),
    ];

    let outcome = t.run(&variables, &["serve"]).await;

    assert_failed(&outcome, "DATABASE_URL");
    assert!(!outcome.2.contains("canary"), "{}", outcome.2);
}

async fn the_first_start_makes_what_nobody_else_may_read(t: Test) {
    let data = t.directory().join("deep/data");
    let folder = data.display().to_string();
    let variables = [
        ("IDENTITY_DATA_DIR", folder.as_str()),
        ("DATABASE_URL", ""),
        ("IDENTITY_MASTER_KEY", ""),
    ];
    let mut first = t.spawn(&variables, &["serve"]);
    first.wait_until_serving().await;
    let ada = first.create_user("ada@example.com").await;

    assert_eq!(mode(&data), 0o700);
    let mut names = Vec::new();
    for entry in fs::read_dir(&data).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(mode(&entry.path()), 0o600, "{:?}", entry.path());
        names.push(entry.file_name().into_string().unwrap());
    }
    assert!(names.contains(&"identity.db".to_owned()) && names.contains(&"master.key".to_owned()));
    let key = fs::read_to_string(data.join("master.key")).unwrap();
    assert!(!first.output().contains(key.trim()), "the key is in the log");

    first.terminate();
    first.wait().await;
    let mut second = t.spawn(&variables, &["serve"]);
    second.wait_until_serving().await;
    assert_eq!(fs::read_to_string(data.join("master.key")).unwrap(), key);
    assert_eq!(second.get(&ada.id).await.unwrap(), ada);
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

async fn beyond_loopback_is_refused(t: Test) {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:50051", "[::ffff:10.0.0.1]:1"] {
        for variable in ["IDENTITY_LISTEN", "IDENTITY_OPERATIONS_LISTEN"] {
            let (code, _, stderr) = t.run(&[(variable, address)], &["serve"]).await;
            assert_eq!(code, 64, "{address}");
            assert!(
                stderr.contains(&format!("{variable}: must be a loopback address")),
                "{stderr}"
            );
        }
    }
}

async fn a_folder_that_cannot_be_made_fails_and_names_the_variable(t: Test) {
    let file = t.directory().join("file");
    fs::write(&file, "").unwrap();
    let folder = file.join("data").display().to_string();

    let outcome = t.run(&[("IDENTITY_DATA_DIR", &folder)], &["serve"]).await;

    assert_failed(&outcome, "IDENTITY_DATA_DIR");
}
