//! `identity config`, and the settings of every command.

use std::collections::BTreeMap;
use std::fs;

use identity::config::Settings;

use crate::support::{Behaviour, Test, behaviours, sqlite_only};

pub fn tests() -> Vec<Behaviour> {
    [
        behaviours![every_setting_is_printed_and_secrets_are_redacted],
        sqlite_only![
            the_defaults_are_printed_where_nothing_is_set,
            csl_05_every_wrong_value_is_named_at_once,
            a_wrong_secret_is_not_quoted,
            unknown_variables_are_reported_without_their_values,
            flags_precede_the_environment_which_precedes_the_file,
            an_empty_value_counts_as_none,
            the_file_may_have_comments_quotes_and_exports,
            a_broken_line_of_the_file_stops_every_command_and_is_not_quoted,
            values_that_are_not_utf_8_are_named,
        ],
    ]
    .concat()
}

async fn every_setting_is_printed_and_secrets_are_redacted(t: Test) {
    let (code, stdout, stderr) = t
        .run(
            &[
                (
                    "DATABASE_URL",
                    "postgres://ada:canary@127.0.0.1:5433/x?sslmode=require",
                ),
                (
                    "DATABASE_REPLICA_URL",
                    "postgres://ada:canary@127.0.0.2:5434/x?sslmode=disable",
                ),
            ],
            &["config"],
        )
        .await;

    assert_eq!((code, stderr.as_str()), (0, ""));
    let printed = parse(&stdout);
    let names: Vec<&str> = stdout
        .lines()
        .map(|line| line.split('=').next().unwrap())
        .collect();
    let expected: Vec<&str> = Settings::variables()
        .iter()
        .map(|variable| variable.name)
        .collect();
    assert_eq!(names, expected);
    assert_eq!(
        printed["DATABASE_URL"],
        "postgres://ada:***@127.0.0.1:5433/x?sslmode=require"
    );
    assert_eq!(
        printed["DATABASE_REPLICA_URL"],
        "postgres://ada:***@127.0.0.2:5434/x?sslmode=disable"
    );
    assert_eq!(printed["IDENTITY_MASTER_KEY"], "[redacted]");
    assert_eq!(printed["IDENTITY_BCRYPT_COST"], "4");
    assert!(!stdout.contains("canary"), "{stdout}");
}

async fn the_defaults_are_printed_where_nothing_is_set(t: Test) {
    let unset: Vec<(&str, &str)> = Settings::variables()
        .iter()
        .map(|variable| (variable.name, ""))
        .collect();

    let (code, stdout, _) = t.run(&unset, &["config"]).await;

    assert_eq!(code, 0);
    let printed = parse(&stdout);
    for variable in Settings::variables() {
        let expected = match variable.name {
            "DATABASE_URL" => "sqlite://identity-data/identity.db",
            _ => variable.default,
        };
        assert_eq!(printed[variable.name], expected, "{}", variable.name);
    }
    // Looking at the settings leaves nothing behind.
    assert!(!t.directory().join("identity-data").exists());
}

async fn csl_05_every_wrong_value_is_named_at_once(t: Test) {
    let wrong = [
        ("IDENTITY_LISTEN", "localhost"),
        ("IDENTITY_OPERATIONS_LISTEN", "9464"),
        ("IDENTITY_REFLECTION", "yes"),
        ("IDENTITY_DRAIN_TIME", "10"),
        ("IDENTITY_AUTH", "no"),
        ("IDENTITY_TLS_CALLERS", "todo=everything"),
        ("IDENTITY_SERVICE_TOKEN_INTERVAL", "1ms"),
        ("IDENTITY_RATE_LIMIT_PER_SERVICE", "50"),
        ("IDENTITY_RATE_LIMIT_PER_USER", "0/s"),
        ("IDENTITY_DRAIN_GRACE", "2h"),
        ("IDENTITY_OPERATIONS_TLS", "on"),
        ("IDENTITY_TLS", "perhaps"),
        ("IDENTITY_TLS_CLIENT_CERT", "maybe"),
        ("IDENTITY_TLS_RELOAD_INTERVAL", "0s"),
        ("IDENTITY_MAX_CONNECTIONS", "0"),
        ("IDENTITY_MAX_CONNECTIONS_PER_PEER", "none"),
        ("IDENTITY_MAX_SILENT_CONNECTIONS", "-1"),
        ("IDENTITY_HANDSHAKE_TIMEOUT", "0s"),
        ("IDENTITY_SEND_TIMEOUT", "5"),
        ("IDENTITY_KEEPALIVE_INTERVAL", "2h"),
        ("IDENTITY_KEEPALIVE_TIMEOUT", "0s"),
        ("IDENTITY_MAX_CONNECTION_AGE", "-1s"),
        ("IDENTITY_MAX_HEADER_BYTES", "1"),
        ("DATABASE_URL", "mysql://host/db"),
        ("DATABASE_REPLICA_URL", "sqlite://replica.db"),
        ("IDENTITY_MIGRATE", "maybe"),
        ("IDENTITY_DATABASE_STATEMENT_TIMEOUT", "-1s"),
        ("IDENTITY_DATABASE_LOCK_TIMEOUT", "2 hours"),
        ("IDENTITY_DATABASE_IDLE_IN_TRANSACTION_TIMEOUT", "0s"),
        ("IDENTITY_DATABASE_BUSY_TIMEOUT", "x"),
        ("IDENTITY_DATABASE_ECHO", "1"),
        ("IDENTITY_DATABASE_POOL_MIN_IDLE", "-1"),
        ("IDENTITY_DATABASE_POOL_MAX_SIZE", "0"),
        ("IDENTITY_DATABASE_POOL_MAX_LIFETIME", "1ms"),
        ("IDENTITY_DATABASE_POOL_IDLE_TIMEOUT", "forever"),
        ("IDENTITY_DATABASE_POOL_CHECK_AFTER_IDLE", "1"),
        ("IDENTITY_DATABASE_POOL_ACQUIRE_TIMEOUT", "2h"),
        ("IDENTITY_DATABASE_CONNECT_TIMEOUT", "0s"),
        ("IDENTITY_MASTER_KEY", "short"),
        ("IDENTITY_PASSWORD_MIN_LENGTH", "7"),
        ("IDENTITY_BCRYPT_COST", "3"),
        ("IDENTITY_BCRYPT_ENGINE", "fast"),
        ("IDENTITY_HASHING_THREADS", "1e3"),
        ("IDENTITY_HASHING_QUEUE", "0"),
        ("IDENTITY_SIGN_UP", "perhaps"),
        ("IDENTITY_SESSION_LIFETIME", "0s"),
        ("IDENTITY_SESSION_IDLE_LIFETIME", "never"),
        ("IDENTITY_MAX_SESSIONS_PER_USER", "0"),
        ("IDENTITY_TOKEN_ISSUER", "two words"),
        ("IDENTITY_TOKEN_AUDIENCE", "tab\there"),
        ("IDENTITY_ACCESS_TOKEN_LIFETIME", "500ms"),
        ("IDENTITY_SIGNING_KEY_LIFETIME", "1m"),
        ("IDENTITY_SIGNING_KEY_INTERVAL", "1h"),
        ("IDENTITY_PASSWORD_RESET_LIFETIME", "1 year"),
        ("IDENTITY_EMAIL_VERIFICATION_LIFETIME", "0s"),
        ("IDENTITY_GOOGLE_CLIENT_IDS", "two words"),
        (
            "IDENTITY_GOOGLE_KEYS_URL",
            "http://www.googleapis.com/oauth2/v3/certs",
        ),
        ("IDENTITY_APPLE_CLIENT_IDS", "\u{e9}"),
        (
            "IDENTITY_APPLE_KEYS_URL",
            "https://ada:canary@appleid.apple.com/auth/keys",
        ),
        ("IDENTITY_OIDC_PROVIDERS", "corp issuer=https://id.example.org"),
        ("IDENTITY_PROVIDER_SIGN_UP", "perhaps"),
        ("IDENTITY_PROVIDER_TIMEOUT", "31s"),
        ("IDENTITY_PROVIDER_KEYS_LIFETIME", "1d"),
        ("IDENTITY_PROVIDER_KEYS_INTERVAL", "0s"),
        ("IDENTITY_FRESH_SIGN_IN", "0s"),
        ("IDENTITY_LOCKOUT_FAILURES", "0"),
        ("IDENTITY_LOCKOUT_WINDOW", "0s"),
        ("IDENTITY_LOCKOUT_FREE_FAILURES", "-1"),
        ("IDENTITY_LOCKOUT_MAX_DELAY", "2 days"),
        ("IDENTITY_LOGIN_ATTEMPT_RETENTION", "1h"),
        ("IDENTITY_EVENT_RETENTION", "11y"),
        ("IDENTITY_WATCH_INTERVAL", "1ms"),
        ("IDENTITY_WATCH_CHECKPOINT_INTERVAL", "2h"),
        ("IDENTITY_REQUIRED_PROFILE_FIELDS", "full_name,shoe_size"),
        ("IDENTITY_HEALTH_INTERVAL", "1ms"),
        ("IDENTITY_HEALTH_FAILURES", "0"),
        ("IDENTITY_MAX_DEADLINE", "2 days"),
        ("IDENTITY_MAX_REQUEST_BYTES", "99999999999999999999"),
        ("IDENTITY_MAX_CONCURRENT_STREAMS", "many"),
        ("IDENTITY_LOG", "identity=loud"),
        ("IDENTITY_LOG_FORMAT", "xml"),
    ];
    for command in ["config", "serve", "healthcheck", "purge"] {
        let (code, stdout, stderr) = t.run(&wrong, &[command]).await;

        assert_eq!((code, stdout.as_str()), (64, ""), "{command}");
        for (name, _) in wrong {
            let naming = stderr
                .lines()
                .filter(|line| line.trim().starts_with(&format!("{name}: ")));
            assert_eq!(naming.count(), 1, "{command} names {name} in {stderr}");
        }
    }
    assert!(
        !t.data_dir().exists(),
        "nothing is made before the settings are right"
    );
    // Whatever is added later has to be wrong here as well; a path never is.
    let free = [
        "IDENTITY_DATA_DIR",
        "IDENTITY_MASTER_KEY_FILE",
        "IDENTITY_TLS_CERT_FILE",
        "IDENTITY_TLS_KEY_FILE",
        "IDENTITY_TLS_CLIENT_CA_FILE",
        "IDENTITY_PROVIDER_CA_FILE",
    ];
    for variable in Settings::variables() {
        let is_tried = wrong.iter().any(|(name, _)| *name == variable.name);
        assert!(
            is_tried || free.contains(&variable.name),
            "no wrong value of {}",
            variable.name
        );
    }
}

async fn a_wrong_secret_is_not_quoted(t: Test) {
    for (name, value) in [
        ("IDENTITY_MASTER_KEY", "canary"),
        ("IDENTITY_MASTER_KEY", "Y2FuYXJ5IGNhbmFyeQ=="),
        ("DATABASE_URL", "postgres://ada:canary@host/db?sslmode=prefer"),
        ("DATABASE_URL", "postgres://ada:canary@host:port/db"),
        ("DATABASE_URL", "postgresq://ada:canary@host/db"),
        (
            "DATABASE_REPLICA_URL",
            "postgres://ada:canary@host/db?connect_timeout=canary",
        ),
    ] {
        let (code, stdout, stderr) = t.run(&[(name, value)], &["config"]).await;
        assert_eq!(code, 64, "{stdout}");
        assert!(stderr.contains(name), "{stderr}");
        assert!(!stderr.contains("canary") && !stderr.contains("Y2Fu"), "{stderr}");
    }
}

async fn unknown_variables_are_reported_without_their_values(t: Test) {
    fs::write(t.directory().join(".env"), "IDENTITY_BCRYT_COST=canary\n").unwrap();
    let variables = [("IDENTITY_MASTERKEY", "canary"), ("UNRELATED", "canary")];

    let (code, stdout, stderr) = t.run(&variables, &["config"]).await;

    assert_eq!(code, 0);
    for name in ["IDENTITY_BCRYT_COST", "IDENTITY_MASTERKEY"] {
        let reports = stderr.lines().filter(|line| line.contains(name)).count();
        assert_eq!(reports, 1, "{name}: {stderr}");
    }
    assert!(
        !stderr.contains("UNRELATED") && !stderr.contains("canary"),
        "{stderr}"
    );
    assert!(!stdout.contains("canary"), "{stdout}");
}

async fn flags_precede_the_environment_which_precedes_the_file(t: Test) {
    let file =
        "IDENTITY_HASHING_QUEUE=11\nIDENTITY_HEALTH_FAILURES=12\nIDENTITY_MAX_REQUEST_BYTES=1300\n";
    fs::write(t.directory().join(".env"), file).unwrap();
    let environment = [
        ("IDENTITY_HASHING_QUEUE", "21"),
        ("IDENTITY_HEALTH_FAILURES", "22"),
    ];
    // A flag may stand before the command or after it.
    for arguments in [["--hashing-queue=31", "config"], ["config", "--hashing-queue=31"]] {
        let (code, stdout, _) = t.run(&environment, &arguments).await;

        let printed = parse(&stdout);
        assert_eq!(code, 0);
        assert_eq!(printed["IDENTITY_HASHING_QUEUE"], "31");
        assert_eq!(printed["IDENTITY_HEALTH_FAILURES"], "22");
        assert_eq!(printed["IDENTITY_MAX_REQUEST_BYTES"], "1300");
        assert_eq!(printed["IDENTITY_MAX_DEADLINE"], "15s");
    }
}

/// As `docker compose` sets variables that are not given.
async fn an_empty_value_counts_as_none(t: Test) {
    fs::write(t.directory().join(".env"), "IDENTITY_HASHING_QUEUE=11\n").unwrap();
    let empty = [("IDENTITY_HASHING_QUEUE", ""), ("IDENTITY_MAX_DEADLINE", "")];

    let (code, stdout, _) = t.run(&empty, &["config", "--max-request-bytes="]).await;

    let printed = parse(&stdout);
    assert_eq!(code, 0);
    assert_eq!(printed["IDENTITY_HASHING_QUEUE"], "11");
    assert_eq!(printed["IDENTITY_MAX_DEADLINE"], "15s");
    assert_eq!(printed["IDENTITY_MAX_REQUEST_BYTES"], "262144");
}

async fn the_file_may_have_comments_quotes_and_exports(t: Test) {
    let file = "# a comment\n\nexport IDENTITY_HASHING_QUEUE='11'\nIDENTITY_LOG=\"debug\" # why\n";
    fs::write(t.directory().join(".env"), file).unwrap();

    let (code, stdout, _) = t.run(&[], &["config"]).await;

    let printed = parse(&stdout);
    assert_eq!(code, 0);
    assert_eq!(printed["IDENTITY_HASHING_QUEUE"], "11");
    assert_eq!(printed["IDENTITY_LOG"], "debug");
}

async fn a_broken_line_of_the_file_stops_every_command_and_is_not_quoted(t: Test) {
    for line in [
        "DATABASE_URL='postgres://ada:canary@h/x",
        "canary",
        "=canary",
        "canary canary=1",
    ] {
        let file = format!("IDENTITY_LOG=info\n{line}\n");
        fs::write(t.directory().join(".env"), file).unwrap();
        for command in ["config", "serve"] {
            let (code, stdout, stderr) = t.run(&[("IDENTITY_BCRYPT_COST", "99")], &[command]).await;
            assert_eq!((code, stdout.as_str()), (64, ""), "{command} {line}");
            assert!(stderr.contains(".env: entry 2"), "{stderr}");
            assert!(
                stderr.contains("IDENTITY_BCRYPT_COST"),
                "named at the same time: {stderr}"
            );
            assert!(!stderr.contains("canary"), "{stderr}");
        }
    }
}

async fn values_that_are_not_utf_8_are_named(t: Test) {
    fs::write(t.directory().join(".env"), b"IDENTITY_LOG=\xff\xfe\n").unwrap();
    let (code, _, stderr) = t.run(&[], &["config"]).await;
    assert_eq!(code, 64);
    assert!(stderr.contains(".env: "), "{stderr}");
}

fn parse(stdout: &str) -> BTreeMap<String, String> {
    stdout
        .lines()
        .map(|line| line.split_once('=').expect("NAME=value"))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}
