//! The counselling platform: login names, blocked users, and the care of the database.

use std::fs;
use std::time::Duration;

use chrono::DateTime;
use identity::config::{PoolSettings, Settings, Sources};
use identity::proto::identity::v1::lookup_user_request::Identifier;
use identity::proto::identity::v1::{GetStatusRequest, LookupUserRequest, UserFilter};
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;
use url::Url;

use super::calls::list_filtered;
use super::outage::Outage;
use super::plans::{echoed_statements, plan_of_last_read, spawn_with_echo};
use super::rows::{fill, insert_by_hand};
use super::{index_names, repository_file};
use crate::support::{Backend, Behaviour, Test, TestServer, behaviours, eventually, new_user, plain};

pub fn tests() -> Vec<Behaviour> {
    [
        behaviours![
            csl_02_a_login_name_has_one_form_in_the_api_and_in_the_database,
            csl_02_a_login_name_is_unique,
            csl_03_blocked_users_are_found_through_a_partial_index,
            csl_04_the_pool_can_be_configured,
            csl_05_settings_come_from_the_environment_and_then_from_dotenv,
            csl_05_a_wrong_value_stops_the_start_and_is_named,
            csl_06_health_reports_the_database,
            csl_07_health_goes_down_and_recovers_with_the_database,
            csl_08_a_separate_test_database_is_separate,
            csl_09_passwords_and_hashes_are_never_logged,
            csl_10_sql_echo_is_off_by_default_and_never_prints_values,
            csl_11_text_that_looks_like_sql_is_only_text,
        ],
        plain![
            csl_01_compose_runs_postgresql_16_and_the_service_waits_for_it,
            csl_04_the_pool_has_the_defaults_of_the_requirements,
            csl_05_the_example_lists_every_variable_with_its_default,
            csl_07_the_probes_that_bring_health_down_fit_into_the_interval,
        ],
    ]
    .concat()
}

/// The configuration of the platform: users are known by their login names.
pub const CONFIGURATION: &[(&str, &str)] = &[("IDENTITY_REQUIRED_PROFILE_FIELDS", "username")];

async fn start(t: &Test) -> TestServer {
    t.start_with(CONFIGURATION).await
}

fn csl_01_compose_runs_postgresql_16_and_the_service_waits_for_it() {
    let compose = fs::read_to_string(repository_file("docker-compose.yml")).unwrap();
    let (services, volumes) = compose.split_once("\nvolumes:\n").unwrap();
    let (database, service) = services.split_once("\n  identity:\n").unwrap();

    for part in [
        "image: postgres:16",
        "POSTGRES_USER: ${POSTGRES_USER",
        "POSTGRES_PASSWORD: ${POSTGRES_PASSWORD:?",
        "POSTGRES_DB: ${POSTGRES_DB",
        "- db-data:/var/lib/postgresql/data",
        "healthcheck:",
        "pg_isready",
    ] {
        assert!(database.contains(part), "db: {part}");
    }
    assert!(volumes.contains("\n  db-data:") || volumes.starts_with("  db-data:"));
    let waits = "depends_on:\n      db:\n        condition: service_healthy";
    assert!(service.contains(waits), "{service}");
    let url = "postgres://${POSTGRES_USER:-identity}:${POSTGRES_PASSWORD:?set POSTGRES_PASSWORD}@";
    assert!(service.contains(url), "{service}");
}

async fn csl_02_a_login_name_has_one_form_in_the_api_and_in_the_database(t: Test) {
    let server = start(&t).await;
    let longest = format!(r"\d\{}", "u".repeat(252));
    let too_long = format!("{longest}u");
    for (username, is_valid) in [
        (r"\clinic\ada", true),
        (r"\Clinic\Ada.Lovelace", true),
        (longest.as_str(), true),
        (too_long.as_str(), false),
        ("ada", false),
        (r"clinic\ada", false),
        (r"\ada", false),
        (r"\clinic\", false),
        (r"\\ada", false),
        (r"\clinic\ada\home", false),
        (r"\clinic\ada\", false),
        ("/clinic/ada", false),
    ] {
        let by_hand = insert_by_hand(
            &t,
            "username, username_normalized",
            &format!("'{username}', lower('{username}')"),
        )
        .await;
        t.sql("DELETE FROM users").await.unwrap();
        let created = server.create(new_user().username(username)).await;
        t.sql("DELETE FROM users").await.unwrap();

        assert_eq!(by_hand.is_ok(), is_valid, "{username}: {by_hand:?}");
        assert_eq!(created.is_ok(), is_valid, "{username}: {created:?}");
        if let (Err(failure), Err(error)) = (created, by_hand) {
            assert_eq!(failure.code(), Code::InvalidArgument, "{username}");
            assert_eq!(failure.fields()[0].0, "user.username");
            assert!(error.contains("users_username_check"), "{username}: {error}");
        }
    }
}

async fn csl_02_a_login_name_is_unique(t: Test) {
    let server = start(&t).await;
    let ada = server.create(new_user().username(r"\clinic\Ada")).await.unwrap();

    let failure = server
        .create(new_user().username(r"\CLINIC\ada"))
        .await
        .unwrap_err();

    assert_eq!(
        (failure.code(), failure.reason().as_str()),
        (Code::AlreadyExists, "USERNAME_TAKEN")
    );
    let identifier = Some(Identifier::Username(r"\clinic\ada".to_owned()));
    let response = server
        .users()
        .lookup_user(LookupUserRequest { identifier })
        .await
        .unwrap();
    assert_eq!(response.into_inner().user, Some(ada));
}

async fn csl_03_blocked_users_are_found_through_a_partial_index(t: Test) {
    let process = spawn_with_echo(&t, CONFIGURATION).await;
    fill(&t, 2000).await;
    let definition = match t.backend {
        Backend::Postgres => {
            "SELECT indexdef AS value FROM pg_indexes WHERE indexname = 'users_blocked_idx'"
        }
        Backend::Sqlite => "SELECT sql AS value FROM sqlite_schema WHERE name = 'users_blocked_idx'",
    };
    let definition = t.sql_value(definition).await.unwrap();
    assert!(definition.ends_with("WHERE is_blocked"), "{definition}");

    let filter = UserFilter {
        is_blocked: Some(true),
        ..UserFilter::default()
    };
    assert_eq!(list_filtered(&process, filter).await.len(), 20);
    let plan = plan_of_last_read(&t, &process, "101").await;
    assert!(plan.contains("users_blocked_idx"), "{plan}");
}

fn csl_04_the_pool_has_the_defaults_of_the_requirements() {
    let settings = Settings::read(&Sources::from_pairs(&[])).unwrap();
    let expected = PoolSettings {
        min_idle: 5,
        max_size: 15,
        max_lifetime: Duration::from_secs(60 * 60),
        idle_timeout: Duration::from_secs(10 * 60),
        check_after_idle: Duration::from_secs(1),
        acquire_timeout: Duration::from_secs(2),
        connect_timeout: Duration::from_secs(10),
    };
    assert_eq!(settings.database.pool, expected);
}

async fn csl_04_the_pool_can_be_configured(t: Test) {
    let server = t
        .start_with(&[
            ("IDENTITY_DATABASE_POOL_MIN_IDLE", "4"),
            ("IDENTITY_DATABASE_POOL_MAX_SIZE", "6"),
        ])
        .await;

    // The last pool is the one that reads use; on SQLite the first has its one writer.
    let pool = eventually("the steady connections are open", async || {
        let response = server.status().get_status(GetStatusRequest {}).await.unwrap();
        let pool = response.into_inner().pools.pop().unwrap();
        (pool.idle >= 4).then_some(pool)
    })
    .await;

    assert!(pool.max_size == 6 && pool.size <= 6, "{pool:?}");
}

fn csl_05_the_example_lists_every_variable_with_its_default() {
    let example = fs::read_to_string(repository_file(".env.example")).unwrap();
    for variable in Settings::variables() {
        let line = format!("#{}={}", variable.name, variable.default);
        assert!(example.lines().any(|one| one == line), "{line}");
    }
    // The defaults, written out, are settings that the program accepts.
    let defaults: Vec<(&str, &str)> = example
        .lines()
        .filter_map(|line| line.strip_prefix('#')?.split_once('='))
        .filter(|(name, _)| {
            name.chars()
                .all(|letter| letter.is_ascii_uppercase() || letter == '_')
        })
        .collect();
    assert_eq!(defaults.len(), Settings::variables().len());
    Settings::read(&Sources::from_pairs(&defaults)).unwrap();
}

async fn csl_05_settings_come_from_the_environment_and_then_from_dotenv(t: Test) {
    let dotenv = "IDENTITY_BCRYPT_COST=5\nIDENTITY_PASSWORD_MIN_LENGTH=20\n";
    fs::write(t.directory().join(".env"), dotenv).unwrap();

    let (code, stdout, stderr) = t.run(&[("IDENTITY_BCRYPT_COST", "6")], &["config"]).await;

    assert_eq!(code, 0, "{stderr}");
    for line in [
        "IDENTITY_BCRYPT_COST=6",
        "IDENTITY_PASSWORD_MIN_LENGTH=20",
        "IDENTITY_MIGRATE=on",
    ] {
        assert!(stdout.lines().any(|one| one == line), "{line} in {stdout}");
    }
    let mut process = t.spawn(&[], &["serve"]);
    process.wait_until_serving().await;
    let nineteen = new_user()
        .email("ada@example.com")
        .password("nineteen characters");
    let failure = process.create(nineteen).await.unwrap_err();
    assert_eq!(failure.metadata("limit").as_deref(), Some("20"));
}

async fn csl_05_a_wrong_value_stops_the_start_and_is_named(t: Test) {
    for (variable, value) in [
        ("DATABASE_URL", "mysql://root:hunter2@localhost/app"),
        ("IDENTITY_DATABASE_POOL_MAX_SIZE", "many"),
        ("IDENTITY_REQUIRED_PROFILE_FIELDS", "username,shoe_size"),
    ] {
        let (code, stdout, stderr) = t.run(&[(variable, value)], &["serve"]).await;

        assert_eq!(code, 64, "{variable}");
        assert!(stderr.contains(&format!("{variable}: ")), "{stderr}");
        assert!(
            stdout.is_empty() && !stderr.contains("hunter2"),
            "{stdout}{stderr}"
        );
    }
}

async fn csl_06_health_reports_the_database(t: Test) {
    let (outage, url) = Outage::prepare(&t).await;
    let server = t.start_with(&[("DATABASE_URL", &url)]).await;

    let up = health(&server, 200).await;
    assert_eq!(
        (&up["status"], &up["database"]),
        (&"healthy".into(), &"connected".into())
    );
    assert!(has_time(&up) && up.as_object().unwrap().len() == 3, "{up}");

    outage.begin();
    server.wait_until_not_serving().await;

    let down = health(&server, 503).await;
    assert_eq!(
        (&down["status"], &down["database"]),
        (&"unhealthy".into(), &"disconnected".into())
    );
    assert!(has_time(&down) && down.as_object().unwrap().len() == 4, "{down}");
    assert!(down["error"].is_string(), "{down}");
}

async fn health(server: &TestServer, expected: u16) -> serde_json::Value {
    let (code, body) = server.http_get("/health").await;
    assert_eq!(code, expected, "{body}");
    serde_json::from_str(&body).unwrap()
}

fn has_time(body: &serde_json::Value) -> bool {
    let text = body["timestamp"].as_str().unwrap_or_default();
    DateTime::parse_from_rfc3339(text).is_ok()
}

async fn csl_07_health_goes_down_and_recovers_with_the_database(t: Test) {
    let (outage, url) = Outage::prepare(&t).await;
    let server = t.start_with(&[("DATABASE_URL", &url)]).await;
    let ada = server.create_user("ada@example.com").await;
    for _ in 0..3 {
        outage.begin();
        server.wait_until_not_serving().await;
        assert_eq!(
            server.health_of("liveness").await.unwrap(),
            ServingStatus::Serving
        );

        outage.end();
        server.wait_until_serving().await;
        assert_eq!(server.get(&ada.id).await.unwrap(), ada);
    }
}

/// "Within one check interval" holds by arithmetic, however slow the machine of a test is.
fn csl_07_the_probes_that_bring_health_down_fit_into_the_interval() {
    for (interval, failures) in [("2s", "2"), ("300ms", "1"), ("1m", "100")] {
        let pairs = [
            ("IDENTITY_HEALTH_INTERVAL", interval),
            ("IDENTITY_HEALTH_FAILURES", failures),
        ];
        let health = Settings::read(&Sources::from_pairs(&pairs)).unwrap().health;
        // A good probe just before the outage, then the failures, the last of which takes its time.
        assert!(
            health.probe_period() * (health.failures + 1) <= health.interval,
            "{health:?}"
        );
    }
}

async fn csl_08_a_separate_test_database_is_separate(t: Test) {
    let separate_url = match t.backend {
        Backend::Sqlite => format!("sqlite://{}", t.directory().join("separate.db").display()),
        Backend::Postgres => {
            let mut url = Url::parse(&t.database_url()).unwrap();
            let name = format!("{}_separate", url.path().trim_start_matches('/'));
            t.sql(&format!("CREATE DATABASE {name}")).await.unwrap();
            url.set_path(&name);
            url.into()
        }
    };
    let server = start(&t).await;
    let separate = t.start_with(&[("DATABASE_URL", &separate_url)]).await;

    let ada = server.create(new_user().username(r"\clinic\ada")).await.unwrap();
    let other_ada = separate
        .create(new_user().username(r"\clinic\ada"))
        .await
        .unwrap();

    assert_eq!(separate.get(&ada.id).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(
        server.get(&other_ada.id).await.unwrap_err().code(),
        Code::NotFound
    );
    if t.backend == Backend::Postgres {
        separate.shutdown().await;
        let name = separate_url.rsplit('/').next().unwrap();
        t.sql(&format!("DROP DATABASE {name} WITH (FORCE)"))
            .await
            .unwrap();
    }
}

async fn csl_09_passwords_and_hashes_are_never_logged(t: Test) {
    let (canary, weak_canary) = ("canary-horse-battery-staple", "canary-weak");
    let variables = [("IDENTITY_LOG", "trace"), ("IDENTITY_DATABASE_ECHO", "on")];
    let mut process = t.spawn(&variables, &["serve"]);
    process.wait_until_serving().await;

    let ada = process
        .create(new_user().email("ada@example.com").password(canary))
        .await
        .unwrap();
    process.get(&ada.id).await.unwrap();
    for (email, password) in [
        ("ada@example.com", canary),
        ("nobody", canary),
        ("grace@example.com", weak_canary),
    ] {
        let refused = process.create(new_user().email(email).password(password)).await;
        assert!(refused.is_err(), "{email}");
    }
    process.terminate();
    process.wait().await;

    let output = process.output();
    // The log is as talkative as it can be, or its silence would prove nothing.
    assert!(output.contains("TRACE") && output.contains("identity::sql"));
    let hash = t
        .sql_value("SELECT password_hash AS value FROM users")
        .await
        .unwrap();
    for secret in [canary, weak_canary, &hash] {
        for (form, text) in printed_forms(secret) {
            assert!(!output.contains(&text), "{secret} as {form} in the log");
        }
    }
}

/// The forms in which programs print text, by name.
fn printed_forms(secret: &str) -> [(&'static str, String); 4] {
    use base64::Engine;
    let numbers: Vec<String> = secret.bytes().map(|byte| byte.to_string()).collect();
    [
        ("text", secret.to_owned()),
        (
            "hexadecimal",
            secret.bytes().map(|byte| format!("{byte:02x}")).collect(),
        ),
        ("numbers", numbers.join(", ")),
        (
            "base64",
            base64::engine::general_purpose::STANDARD_NO_PAD.encode(secret),
        ),
    ]
}

async fn csl_10_sql_echo_is_off_by_default_and_never_prints_values(t: Test) {
    let ada = new_user().email("canary@example.com").full_name("Canary Bird");
    let mut silent = t.spawn(
        &[("IDENTITY_LOG", "trace"), ("IDENTITY_LOG_FORMAT", "json")],
        &["serve"],
    );
    silent.wait_until_serving().await;
    let canary = silent.create(ada).await.unwrap();
    silent.terminate();
    silent.wait().await;
    assert!(echoed_statements(&silent).is_empty());

    let talkative = spawn_with_echo(&t, &[]).await;
    talkative.get(&canary.id).await.unwrap();
    talkative
        .create(new_user().email("canary2@example.com"))
        .await
        .unwrap();

    let statements = echoed_statements(&talkative);
    let is_echoed = |verb: &str| statements.iter().any(|statement| statement.starts_with(verb));
    assert!(is_echoed("SELECT") && is_echoed("INSERT INTO"), "{statements:?}");
    let output = talkative.output();
    for value in ["canary", "Canary", &canary.id] {
        assert!(!output.contains(value), "{value} in {output}");
    }
}

async fn csl_11_text_that_looks_like_sql_is_only_text(t: Test) {
    let server = t.start().await;
    for (number, text) in [
        "'; DROP TABLE users; --",
        "\" OR \"\"=\"",
        "' OR '1'='1",
        "Robert'); DELETE FROM users WHERE ('a'='a",
        r"\'; SELECT pg_sleep(9); --",
        "$1 ?1 :name @name {0} %s %00",
        "%' AND is_blocked = '_",
        "/* */ -- # ;",
        r"E'\x27' U&'\0027' $$ $tag$",
    ]
    .into_iter()
    .enumerate()
    {
        let new = new_user().email(&format!("{number}@example.com")).full_name(text);
        let created = server.create(new).await.unwrap();
        assert_eq!(server.get(&created.id).await.unwrap().full_name, text);
        let query = format!("SELECT full_name AS value FROM users WHERE email = '{number}@example.com'");
        assert_eq!(t.sql_value(&query).await.as_deref(), Some(text));
    }
    let username = r"\'or'1'='1\--;DROP/**/TABLE/**/users";
    let created = server.create(new_user().username(username)).await.unwrap();
    assert_eq!(server.get(&created.id).await.unwrap().username, username);

    for (email_prefix, expected) in [("%", 0), ("_", 0), ("'OR/**/1=1--", 0), ("", 10), ("1", 1)] {
        let filter = UserFilter {
            email_prefix: email_prefix.to_owned(),
            ..UserFilter::default()
        };
        let found = list_filtered(&server, filter).await;
        assert_eq!(found.len(), expected, "{email_prefix}");
    }
    assert!(index_names(&t, "users").await.len() > 1);
}
