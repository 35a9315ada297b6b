//! What the program says about itself, and to wrong command lines.

use identity::config::Settings;

use crate::support::{Behaviour, Test, sqlite_only};

pub fn tests() -> Vec<Behaviour> {
    sqlite_only![
        help_and_version_succeed_on_standard_output,
        help_lists_every_command_and_setting,
        a_wrong_command_line_fails_with_64_and_says_how,
        a_wrong_flag_does_not_quote_a_secret,
        a_reader_that_has_seen_enough_is_no_fault,
    ]
}

async fn help_and_version_succeed_on_standard_output(t: Test) {
    let lines: [&[&str]; 8] = [
        &["--help"],
        &["-h"],
        &["--version"],
        &["-V"],
        &["serve", "--help"],
        &["migrate", "--help"],
        &["migrate", "down", "-h"],
        &["config", "--help"],
    ];
    for arguments in lines {
        // Settings that are wrong must not keep anyone from asking for help.
        let (code, stdout, stderr) = t.run(&[("IDENTITY_LISTEN", "nowhere")], arguments).await;
        assert_eq!((code, stderr.as_str()), (0, ""), "{arguments:?}");
        assert!(!stdout.trim().is_empty(), "{arguments:?}");
    }
    let (_, version, _) = t.run(&[], &["--version"]).await;
    assert_eq!(version, format!("identity {}\n", env!("CARGO_PKG_VERSION")));
}

async fn help_lists_every_command_and_setting(t: Test) {
    let (_, help, _) = t.run(&[], &["--help"]).await;
    for command in ["serve", "migrate", "config", "healthcheck", "purge"] {
        let is_listed = help.lines().any(|line| line.trim_start().starts_with(command));
        assert!(is_listed, "{command}: {help}");
    }
    // Lines are wrapped to the width of the terminal.
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for variable in Settings::variables() {
        assert!(
            help.contains(&format!("--{} ", variable.flag())),
            "{}: {help}",
            variable.name
        );
        assert!(
            help.contains(&format!("[env: {}]", variable.name)),
            "{}: {help}",
            variable.name
        );
    }
}

async fn a_wrong_command_line_fails_with_64_and_says_how(t: Test) {
    let lines: [&[&str]; 10] = [
        &["nope"],
        &["help"],
        &["--nope"],
        &["serve", "--nope"],
        &["serve", "extra"],
        &["migrate"],
        &["migrate", "sideways"],
        &["migrate", "down", "--steps", "all"],
        &["config", "--listen"],
        &["--listen", "127.0.0.1:1", "--listen", "127.0.0.1:2", "config"],
    ];
    for arguments in lines {
        let (code, stdout, stderr) = t.run(&[], arguments).await;
        assert_eq!((code, stdout.as_str()), (64, ""), "{arguments:?}: {stderr}");
        assert!(
            stderr.contains("Usage: identity") || stderr.contains("try '--help'"),
            "{arguments:?}: {stderr}"
        );
    }
    let (code, _, stderr) = t.run(&[], &["serve", "--listen", "nowhere"]).await;
    assert_eq!(code, 64);
    assert!(
        stderr.contains("IDENTITY_LISTEN: must be an IP address"),
        "{stderr}"
    );
    assert!(!t.data_dir().exists());
}

async fn a_wrong_flag_does_not_quote_a_secret(t: Test) {
    let lines: [&[&str]; 3] = [
        &["--masterkey=canary", "config"],
        &["--databse-url=postgres://ada:canary@h/x", "config"],
        &["--master-key", "canary", "config"],
    ];
    for arguments in lines {
        let (code, stdout, stderr) = t.run(&[], arguments).await;
        assert_eq!(code, 64, "{arguments:?}");
        assert!(
            !stdout.contains("canary") && !stderr.contains("canary"),
            "{stderr}"
        );
    }
}

/// `identity config | head -0`.
async fn a_reader_that_has_seen_enough_is_no_fault(t: Test) {
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_identity"))
        .arg("config")
        .current_dir(t.directory())
        .env_clear()
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());

    let status = tokio::task::spawn_blocking(move || child.wait().unwrap())
        .await
        .unwrap();

    assert!(status.success(), "{status}");
}
