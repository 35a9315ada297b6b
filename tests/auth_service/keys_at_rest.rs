//! Signing keys in the database: what a restart finds, and what somebody with the database can do with them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::PROMPT;
use crate::support::{
    Backend, Behaviour, Forger, PASSWORD, Test, behaviours, claims_of, eventually, kid_of, sqlite_only,
};

pub fn tests() -> Vec<Behaviour> {
    [
        behaviours![
            t21_tokens_outlive_a_restart,
            t21_a_private_key_is_nowhere_in_the_clear,
            t21_another_master_key_is_refused_at_the_start,
            t21_columns_of_one_row_in_another_are_refused_at_the_start,
            t21_a_key_that_was_put_into_the_database_signs_nothing,
            t21_a_running_server_goes_on_with_the_keys_it_has,
        ],
        sqlite_only![t21_the_files_are_for_the_service_alone],
    ]
    .concat()
}

/// Another key than that of the tests.
const OTHER_MASTER_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

async fn t21_tokens_outlive_a_restart(t: Test) {
    let mut first = t.spawn(&[], &["serve"]);
    first.wait_until_serving().await;
    let (user, tokens) = first.signed_in("ada@example.com").await;
    let keys = first.signing_keys().await;
    first.kill_9();

    let mut second = t.spawn(&[], &["serve"]);
    second.wait_until_serving().await;

    assert_eq!(second.signing_keys().await, keys);
    assert_eq!(
        second.introspect(&tokens.access_token).await.unwrap().user_id,
        user.id
    );
    let next = second.sign_in("ada@example.com", PASSWORD).await.unwrap();
    assert_eq!(kid_of(&next.access_token), kid_of(&tokens.access_token));
}

async fn t21_a_private_key_is_nowhere_in_the_clear(t: Test) {
    let mut process = t.spawn(&[("IDENTITY_LOG", "trace")], &["serve"]);
    process.wait_until_serving().await;
    let (_, _) = process.signed_in("ada@example.com").await;
    let stored = private_keys(&t).await.concat().to_lowercase();
    let public = public_keys(&t).await.concat().to_lowercase();

    // PKCS #8 holds the public key, too, after what says that it is a key of P-256.
    assert!(!stored.contains("2a8648ce3d"), "not encrypted: {stored}");
    assert!(!stored.contains(&public[2..]), "not encrypted: {stored}");
    // Nonce, document and tag.
    assert_eq!(stored.len() / 2, 12 + 138 + 16);
    let private_key = Forger::with_key_of_service(&t).await.private_key();
    for form in [
        STANDARD.encode(&private_key),
        private_key.iter().map(|byte| format!("{byte:02x}")).collect(),
    ] {
        assert!(!process.output().contains(&form), "in the log");
        assert!(!stored.contains(&form), "in the database");
    }
}

async fn private_keys(t: &Test) -> Vec<String> {
    column(t, "private_key").await
}

async fn public_keys(t: &Test) -> Vec<String> {
    column(t, "public_key").await
}

async fn column(t: &Test, name: &str) -> Vec<String> {
    let hex = match t.backend {
        Backend::Sqlite => format!("hex({name})"),
        Backend::Postgres => format!("encode({name}, 'hex')"),
    };
    let query = format!("SELECT {hex} AS value FROM signing_keys ORDER BY activates_at, kid");
    t.sql_values(&query).await.into_iter().flatten().collect()
}

async fn kids(t: &Test) -> Vec<String> {
    let query = "SELECT kid AS value FROM signing_keys ORDER BY activates_at, kid";
    t.sql_values(query).await.into_iter().flatten().collect()
}

/// Checks that neither the server nor the commands start, and that they say what is at fault in one line.
async fn assert_no_start(t: &Test, variables: &[(&str, &str)]) {
    for arguments in [["serve"].as_slice(), &["keys", "list"], &["keys", "rotate"]] {
        let (code, stdout, stderr) = t.run(variables, arguments).await;
        assert_eq!((code, stdout.as_str()), (1, ""), "{arguments:?} {stderr}");
        let errors: Vec<&str> = stderr
            .lines()
            .filter(|line| line.starts_with("error: "))
            .collect();
        assert_eq!(errors.len(), 1, "{stderr}");
        assert!(
            errors[0].starts_with("error: IDENTITY_MASTER_KEY: the signing keys in the database"),
            "{stderr}"
        );
        assert!(!stderr.contains(OTHER_MASTER_KEY));
    }
}

async fn t21_another_master_key_is_refused_at_the_start(t: Test) {
    drop(t.start().await);
    let before = private_keys(&t).await;

    assert_no_start(&t, &[("IDENTITY_MASTER_KEY", OTHER_MASTER_KEY)]).await;

    assert_eq!(private_keys(&t).await, before);
    t.start().await;
}

async fn t21_columns_of_one_row_in_another_are_refused_at_the_start(t: Test) {
    drop(t.start().await);
    assert_eq!(t.run(&[], &["keys", "rotate"]).await.0, 0);
    assert_eq!(kids(&t).await.len(), 2);

    let both = ["private_key", "public_key"];
    for columns in [&both[..1], &both[1..], &both[..]] {
        swap(&t, columns).await;
        assert_no_start(&t, &[]).await;
        swap(&t, columns).await;
    }
    // Not even a part of a private key can be changed.
    let [first, _] = private_keys(&t).await.try_into().unwrap();
    for damaged in [
        format!("{}{}", &first[2..], &first[..2]),
        first[..first.len() - 2].to_owned(),
        first[..24].to_owned(),
        String::new(),
    ] {
        set_private_key(&t, &damaged).await;
        assert_no_start(&t, &[]).await;
    }
    set_private_key(&t, &first).await;
    t.start().await;
}

/// Exchanges columns between the two rows.
async fn swap(t: &Test, columns: &[&str]) {
    let assignments: Vec<String> = columns
        .iter()
        .map(|column| {
            format!(
                "{column} = (SELECT other.{column} FROM signing_keys AS other \
                 WHERE other.kid <> signing_keys.kid)"
            )
        })
        .collect();
    // SQLite would read rows that it has written already.
    let statements = format!(
        "CREATE TABLE swapped AS SELECT * FROM signing_keys; \
         UPDATE signing_keys SET {}; DROP TABLE swapped",
        assignments
            .join(", ")
            .replace("FROM signing_keys AS", "FROM swapped AS")
    );
    t.sql(&statements).await.unwrap();
}

async fn set_private_key(t: &Test, hex: &str) {
    let value = match t.backend {
        Backend::Sqlite => format!("x'{hex}'"),
        Backend::Postgres => format!("decode('{hex}', 'hex')"),
    };
    let oldest = &kids(t).await[0];
    t.sql(&format!(
        "UPDATE signing_keys SET private_key = {value} WHERE kid = '{oldest}'"
    ))
    .await
    .unwrap();
}

/// Whoever can write to the database, but does not have the master key, cannot have tokens accepted.
async fn t21_a_key_that_was_put_into_the_database_signs_nothing(t: Test) {
    let server = t.start().await;
    let (_, tokens) = server.signed_in("ada@example.com").await;
    let own = Forger::with_key_of_its_own();
    let ours = Forger::with_key_of_service(&t).await;
    let hex: String = own
        .public_key()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let value = match t.backend {
        Backend::Sqlite => format!("x'{hex}'"),
        Backend::Postgres => format!("decode('{hex}', 'hex')"),
    };
    let claims = claims_of(&tokens.access_token);

    // A new row with the private key of another one, and their public key in place of ours.
    t.sql(&format!(
        "INSERT INTO signing_keys \
             (kid, algorithm, public_key, private_key, activates_at, retires_at, created_at) \
         SELECT '{}', algorithm, {value}, private_key, activates_at, activates_at, created_at \
         FROM signing_keys",
        own.kid
    ))
    .await
    .unwrap();
    assert_no_start(&t, &[]).await;
    t.sql(&format!("DELETE FROM signing_keys WHERE kid = '{}'", own.kid))
        .await
        .unwrap();
    t.sql(&format!("UPDATE signing_keys SET public_key = {value}"))
        .await
        .unwrap();
    assert_no_start(&t, &[]).await;

    // A server that runs has not taken the key, and says so in the keys it publishes.
    let keys = server.signing_keys().await;
    assert_eq!(keys.len(), 1);
    assert_eq!(keys[0].kid, ours.kid);
    assert!(!server.is_active(&own.sign(&claims)).await);
    assert!(!server.is_active(&own.sign_under(&ours.header(), &claims)).await);
}

async fn t21_a_running_server_goes_on_with_the_keys_it_has(t: Test) {
    let mut process = t.spawn(&[PROMPT], &["serve"]);
    process.wait_until_serving().await;
    let (_, tokens) = process.signed_in("ada@example.com").await;

    set_private_key(&t, "00").await;

    eventually("the log tells", async || {
        process.stderr().contains("the signing keys could not be read")
    })
    .await;
    assert!(process.is_active(&tokens.access_token).await);
    let next = process.sign_in("ada@example.com", PASSWORD).await.unwrap();
    assert!(process.is_active(&next.access_token).await);
}

async fn t21_the_files_are_for_the_service_alone(t: Test) {
    use std::os::unix::fs::PermissionsExt;
    let data = t.data_dir();
    let variables = [("DATABASE_URL", ""), ("IDENTITY_MASTER_KEY", "")];
    let mut process = t.spawn(&variables, &["serve"]);
    process.wait_until_serving().await;
    process.signed_in("ada@example.com").await;

    for entry in std::fs::read_dir(data).unwrap() {
        let path = entry.unwrap().path();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", path.display());
    }
}
