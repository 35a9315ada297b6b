//! The operations port.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value};

use super::outage::Outage;
use crate::support::{Behaviour, Clients, Test, behaviours, new_user};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        h08_csl_06_health_up_and_down_has_the_documented_fields_and_no_others,
        metrics_have_the_documented_families,
        metrics_count_calls_by_method_and_code,
        metrics_show_that_the_database_is_away,
        what_is_not_there_is_not_found,
    ]
}

async fn h08_csl_06_health_up_and_down_has_the_documented_fields_and_no_others(t: Test) {
    let outage = Outage::of(&t).await;
    let server = outage.start_server(&t, &[]).await;

    let (status_up, mut up) = health(&server).await;
    assert_eq!(status_up, 200);
    assert_recent(&up.remove("timestamp").unwrap());
    assert_eq!(
        Value::Object(up),
        serde_json::json!({"status": "healthy", "database": "connected"})
    );

    outage.begin();
    server.wait_until_not_serving().await;
    let (status_down, mut down) = health(&server).await;
    assert_eq!(status_down, 503);
    assert_recent(&down.remove("timestamp").unwrap());
    // The text is ours: the driver's would tell where the database is.
    assert_eq!(
        Value::Object(down),
        serde_json::json!({
            "status": "unhealthy",
            "database": "disconnected",
            "error": "the database does not answer",
        })
    );

    outage.end();
    server.wait_until_serving().await;
    assert_eq!(health(&server).await.0, 200);
}

async fn health(clients: &Clients) -> (u16, Map<String, Value>) {
    let (status, body) = clients.http_get("/health").await;
    (status, serde_json::from_str(&body).expect("an object"))
}

/// A time in UTC, of about now.
fn assert_recent(timestamp: &Value) {
    let text = timestamp.as_str().unwrap();
    assert!(text.ends_with('Z'), "{text}");
    let time: DateTime<Utc> = text.parse().unwrap();
    assert!((Utc::now() - time).abs() < TimeDelta::hours(1), "{text}");
}

async fn metrics_have_the_documented_families(t: Test) {
    let server = t.start().await;
    server
        .create(
            new_user()
                .email("ada@example.com")
                .password("correct horse battery staple"),
        )
        .await
        .unwrap();

    let (status, text) = server.http_get("/metrics").await;

    assert_eq!(status, 200);
    assert!(text.ends_with("# EOF\n"), "{text}");
    let families = [
        "identity_grpc_calls counter",
        "identity_grpc_call_duration_seconds histogram",
        "identity_panics counter",
        "identity_database_up gauge",
        "identity_database_probe_duration_seconds gauge",
        "identity_database_pool_connections gauge",
        "identity_database_pool_waiting gauge",
        "identity_database_transactions counter",
        "identity_hashing_running gauge",
        "identity_hashing_waiting gauge",
        "identity_hashing_computed counter",
        "identity_hashing_refused counter",
    ];
    for family in families {
        assert!(
            text.contains(&format!("# TYPE {family}\n")),
            "{family} is not in {text}"
        );
        let name = family.split(' ').next().unwrap();
        assert!(
            text.contains(&format!("# HELP {name} ")),
            "{name} has no help in {text}"
        );
    }
    for (name, expected) in [
        ("identity_database_up", 1.0),
        ("identity_panics_total", 0.0),
        ("identity_hashing_computed_total", 1.0),
        ("identity_hashing_refused_total", 0.0),
        ("identity_database_pool_waiting{pool=\"writer\"}", 0.0),
        (
            "identity_database_transactions_total{name=\"users::create\",outcome=\"committed\"}",
            1.0,
        ),
    ] {
        assert_eq!(value(&text, name), Some(expected), "{name} in {text}");
    }
}

async fn metrics_count_calls_by_method_and_code(t: Test) {
    let server = t.start().await;
    server.create_user("ada@example.com").await;
    server.create_user("grace@example.com").await;
    server
        .create(new_user().email("ADA@example.com"))
        .await
        .unwrap_err();
    server.create(new_user().email("nope")).await.unwrap_err();
    server.get("nope").await.unwrap_err();

    let (_, text) = server.http_get("/metrics").await;

    for (method, code, expected) in [
        ("CreateUser", "OK", Some(2.0)),
        ("CreateUser", "ALREADY_EXISTS", Some(1.0)),
        ("CreateUser", "INVALID_ARGUMENT", Some(1.0)),
        ("GetUser", "INVALID_ARGUMENT", Some(1.0)),
        ("GetUser", "OK", None),
    ] {
        let name = format!(
            "identity_grpc_calls_total{{method=\"/identity.v1.UserService/{method}\",code=\"{code}\"}}"
        );
        assert_eq!(value(&text, &name), expected, "{name} in {text}");
    }
    let count =
        "identity_grpc_call_duration_seconds_count{method=\"/identity.v1.UserService/CreateUser\"}";
    assert_eq!(value(&text, count), Some(4.0), "{text}");
}

async fn metrics_show_that_the_database_is_away(t: Test) {
    let outage = Outage::of(&t).await;
    let server = outage.start_server(&t, &[]).await;

    outage.begin();
    server.wait_until_not_serving().await;

    let (status, text) = server.http_get("/metrics").await;
    assert_eq!((status, value(&text, "identity_database_up")), (200, Some(0.0)));
}

async fn what_is_not_there_is_not_found(t: Test) {
    let server = t.start().await;
    for path in [
        "/",
        "/healthz",
        "/health/",
        "/metrics/x",
        "/debug",
        "/../etc/passwd",
        "/%2e%2e/etc/passwd",
    ] {
        let (status, body) = server.http_get(path).await;
        assert_eq!((status, body.as_str()), (404, ""), "{path}");
    }
    assert_eq!(server.http_get("/health?verbose=1").await.0, 200);
}

/// The value of a metric; its name includes the labels.
fn value(text: &str, name: &str) -> Option<f64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    Some(line.parse().unwrap())
}
