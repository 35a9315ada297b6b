//! Looking for secrets in whatever a program leaves behind.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use crate::support::{Backend, Failure, Test};

/// A secret that is no text: a key or a digest.
pub struct SecretBytes {
    /// What it is.
    pub name: String,
    /// It.
    pub bytes: Vec<u8>,
}

/// The text holds none of the secrets, neither as they are nor in a form that can be turned back.
pub fn assert_free_of(place: &str, text: &str, secrets: &[&str]) {
    for secret in secrets {
        assert_free_of_forms(place, text, &format!("{secret:?}"), forms(secret));
    }
}

/// The text holds none of the secrets in any form; raw bytes are found in what [`as_text`] made of bytes.
pub fn assert_free_of_bytes(place: &str, text: &str, secrets: &[SecretBytes]) {
    for secret in secrets {
        let mut forms = forms_of_bytes(&secret.bytes);
        forms.push(("raw bytes", as_text(&secret.bytes)));
        assert_free_of_forms(place, text, &secret.name, forms);
    }
}

fn assert_free_of_forms(place: &str, text: &str, name: &str, forms: Vec<(&'static str, String)>) {
    for (form, encoded) in forms {
        let Some(index) = text.find(&encoded) else {
            continue;
        };
        let line = text[..index].rfind('\n').map_or(0, |index| index + 1);
        let excerpt: String = text[line..].chars().take(400).collect();
        panic!("{name} is in {place} as {form}: {excerpt}");
    }
}

/// Makes a text of bytes in which each byte is one character, so that nothing is lost.
pub fn as_text(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// The forms in which a text may turn up.
fn forms(secret: &str) -> Vec<(&'static str, String)> {
    let bytes = secret.as_bytes();
    let json = serde_json::to_string(secret).unwrap();
    let mut forms = vec![
        ("itself", secret.to_owned()),
        ("an escaped text", secret.escape_default().to_string()),
        ("JSON", json.trim_matches('"').to_owned()),
        (
            "a part of a URL",
            url::form_urlencoded::byte_serialize(bytes).collect(),
        ),
    ];
    forms.extend(forms_of_bytes(bytes));
    forms
}

/// The forms in which bytes may be written.
fn forms_of_bytes(bytes: &[u8]) -> Vec<(&'static str, String)> {
    /// The base64 of less is found by chance.
    const SHORTEST: usize = 6;
    let decimal: Vec<String> = bytes.iter().map(u8::to_string).collect();
    let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut forms = vec![
        ("decimal bytes", decimal.join(", ")),
        ("upper-case hexadecimal", hex.concat().to_uppercase()),
        ("hexadecimal", hex.concat()),
        ("hexadecimal with spaces", hex.join(" ")),
    ];
    // What base64 makes of a text depends on where in the bytes around it the text begins.
    for skipped in 0..3 {
        let aligned = &bytes[skipped..skipped + (bytes.len() - skipped) / 3 * 3];
        if aligned.len() < SHORTEST {
            continue;
        }
        forms.push(("base64", STANDARD.encode(aligned)));
        forms.push(("base64 for URLs", URL_SAFE.encode(aligned)));
    }
    forms
}

/// S04: an answer tells nothing about how the service is made.
pub fn assert_names_nothing_internal(failure: &Failure) {
    // In random digits any short word turns up sooner or later.
    let id = failure.status().metadata().get("x-request-id");
    let random = id.and_then(|value| value.to_str().ok()).unwrap_or("no id");
    let text = text_of(failure).replace(random, "").to_lowercase();
    for word in [
        "select ",
        "insert ",
        "sqlite",
        "postgres",
        "diesel",
        "tokio",
        "tonic",
        "bb8",
        "prost",
        "src/",
        ".rs",
        "/tmp",
        "panicked",
        "backtrace",
        "password_hash",
        "users_",
        "constraint",
        "127.0.0.1",
    ] {
        assert!(!text.contains(word), "{word}: {text}");
    }
}

/// Everything a caller sees of a failure.
pub fn text_of(failure: &Failure) -> String {
    let status = failure.status();
    let details = String::from_utf8_lossy(status.details()).into_owned();
    format!("{} {details} {:?}", status.message(), status.metadata())
}

/// What is at rest, place by place: every file of an SQLite database, every row of a PostgreSQL one.
pub async fn stored(t: &Test) -> Vec<(String, String)> {
    match t.backend {
        Backend::Sqlite => files(t.directory())
            .into_iter()
            // What processes print is looked at by itself.
            .filter(|path| {
                !path
                    .extension()
                    .is_some_and(|name| name == "out" || name == "err")
            })
            .map(|path| {
                let bytes = fs::read(&path).unwrap();
                (path.display().to_string(), as_text(&bytes))
            })
            .collect(),
        Backend::Postgres => {
            let query = "SELECT table_name AS value FROM information_schema.tables WHERE table_schema = 'public'";
            let mut found = Vec::new();
            for table in t.sql_values(query).await.into_iter().flatten() {
                let rows = t
                    .sql_values(&format!("SELECT t::text AS value FROM {table} t"))
                    .await;
                let rows: Vec<String> = rows.into_iter().flatten().collect();
                found.push((table, rows.join("\n")));
            }
            assert!(
                found
                    .iter()
                    .any(|(table, rows)| table == "users" && !rows.is_empty())
            );
            found
        }
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .collect()
}
