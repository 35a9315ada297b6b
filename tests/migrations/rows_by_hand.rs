//! Rows that are inserted and changed by hand, past the service.

use identity::proto::identity::v1::lookup_user_request::Identifier;
use identity::proto::identity::v1::{LookupUserRequest, User};

use super::migrate;
use crate::support::{Backend, Behaviour, Clients, Test, behaviours, postgres_only, sqlite_only};

pub fn tests() -> Vec<Behaviour> {
    [
        behaviours![
            m09_rows_that_break_a_rule_are_refused,
            m09_changes_that_break_a_rule_are_refused,
            m09_duplicates_are_refused,
            m09_rows_at_the_limits_are_accepted,
            m09_request_ids_that_break_a_rule_are_refused,
            a_row_made_by_hand_is_served,
            num_06_a_change_made_by_hand_moves_the_version_and_the_time,
            num_06_a_change_made_by_hand_cannot_move_them_back,
        ],
        postgres_only![m09_types_of_postgresql_refuse_the_rest],
        sqlite_only![m09_checks_make_up_for_the_types_that_sqlite_lacks],
    ]
    .concat()
}

/// Columns and their values as SQL.
type Row<'a> = &'a [(&'a str, &'a str)];

/// A row that breaks a rule, and the constraint that says so.
type Case<'a> = (Row<'a>, &'a str);

const EMAIL: [(&str, &str); 2] = [
    ("email", "'ada@example.com'"),
    ("email_normalized", "'ada@example.com'"),
];

/// Sixty characters, as a hash has.
const HASH: &str = "'$2b$04$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'";

/// Rules of a user beside those of its email and username: extra columns of a user with an email.
const EXTRA_COLUMNS: &[Case<'static>] = &[
    (&[("full_name", "''")], "users_full_name_check"),
    (&[("birth_date", "'2999-01-01'")], "users_birth_date_check"),
    (&[("password_hash", "'plain text'")], "users_password_hash_check"),
    (&[("password_hash", "''")], "users_password_hash_check"),
    (&[("auth_provider", "'password'")], "users_auth_provider_check"),
    (&[("block_reason", "'spam'")], "users_block_reason_check"),
    (
        &[("is_blocked", "TRUE"), ("block_reason", "''")],
        "users_block_reason_check",
    ),
    (&[("version", "0")], "users_version_check"),
    (&[("version", "-1")], "users_version_check"),
];

/// Rows that are wrong as a whole.
const WHOLE_ROWS: &[Case<'static>] = &[
    (&[("full_name", "'Ada'")], "users_identifier_check"),
    (&[("email", "'ada@example.com'")], "users_email_normalized_check"),
    (
        &[("username", r"'\d\u'"), ("email_normalized", "'ada@example.com'")],
        "users_email_normalized_check",
    ),
    (&[("username", r"'\d\u'")], "users_username_normalized_check"),
    (
        &[
            ("email", "'ada@example.com'"),
            ("email_normalized", "'Ada@Example.com'"),
        ],
        "users_email_check",
    ),
    (
        &[("username", r"'\d\u'"), ("username_normalized", r"'\D\U'")],
        "users_username_check",
    ),
];

/// Emails that are none, with what they are compared as.
const BAD_EMAILS: &[&str] = &[
    "'ada'",
    "''",
    "'@example.com'",
    "'ada@'",
    "'a@b@c'",
    "'a b@example.com'",
    "' ada@example.com'",
    "'ada@example.com' || chr(10)",
    "'ada' || chr(9) || '@example.com'",
    "'ada@example.com' || chr(127)",
    "repeat('a', 243) || '@example.com'",
    "repeat('é', 122) || '@example.com'",
];

const BAD_USERNAMES: &[&str] = &[
    r"'ada'",
    r"''",
    r"'d\u'",
    r"'\d'",
    r"'\d\'",
    r"'\\u'",
    r"'\\d\u'",
    r"'\d\u\v'",
    r"'\d\u\'",
    r"'\ \ '",
    r"'\d d\u'",
    r"'/d/u'",
    r"'\d\u' || chr(10)",
    r"'\d\' || repeat('u', 253)",
];

/// Inserts a user. Only PostgreSQL has an id of its own to give.
async fn insert(t: &Test, columns: &[(&str, &str)]) -> Result<(), String> {
    let mut all: Vec<(&str, &str)> = columns.to_vec();
    if t.backend == Backend::Sqlite {
        all.push(("id", "randomblob(16)"));
    }
    let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
    let values: Vec<String> = all.iter().map(|(_, value)| dialect(t, value)).collect();
    t.sql(&format!(
        "INSERT INTO users ({}) VALUES ({})",
        names.join(", "),
        values.join(", ")
    ))
    .await
}

/// Writes PostgreSQL's functions as SQLite has them.
fn dialect(t: &Test, value: &str) -> String {
    let Backend::Sqlite = t.backend else {
        return value.to_owned();
    };
    let value = value.replace("chr(", "char(");
    match value.split_once("repeat('") {
        None => value,
        Some((before, call)) => {
            let (text, rest) = call.split_once("', ").unwrap();
            let (count, after) = rest.split_once(')').unwrap();
            format!("{before}'{}'{after}", text.repeat(count.parse().unwrap()))
        }
    }
}

fn with_email(row: Row<'_>) -> Vec<(String, String)> {
    EMAIL
        .iter()
        .chain(row)
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

/// Everything that no user may be like.
fn bad_rows() -> Vec<(Vec<(String, String)>, String)> {
    let owned = |row: Row<'_>| -> Vec<(String, String)> {
        row.iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    };
    let pair = |column: &str, value: &str| {
        vec![
            (column.to_owned(), value.to_owned()),
            (format!("{column}_normalized"), value.to_owned()),
        ]
    };
    let long = "repeat('x', 501)";
    let mut rows: Vec<(Vec<(String, String)>, String)> = vec![
        (
            with_email(&[("full_name", "repeat('x', 256)")]),
            "users_full_name_check".to_owned(),
        ),
        (
            with_email(&[("is_blocked", "TRUE"), ("block_reason", long)]),
            "users_block_reason_check".to_owned(),
        ),
        (
            with_email(&[("password_hash", "repeat('x', 61)")]),
            "users_password_hash_check".to_owned(),
        ),
    ];
    for (row, constraint) in WHOLE_ROWS {
        rows.push((owned(row), (*constraint).to_owned()));
    }
    for (row, constraint) in EXTRA_COLUMNS {
        rows.push((with_email(row), (*constraint).to_owned()));
    }
    for email in BAD_EMAILS {
        rows.push((pair("email", email), "users_email_check".to_owned()));
    }
    for username in BAD_USERNAMES {
        rows.push((pair("username", username), "users_username_check".to_owned()));
    }
    rows
}

fn borrowed(row: &[(String, String)]) -> Vec<(&str, &str)> {
    row.iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}

async fn m09_rows_that_break_a_rule_are_refused(t: Test) {
    migrate(&t, &["up"]).await;

    for (row, constraint) in bad_rows() {
        let error = insert(&t, &borrowed(&row)).await.expect_err(&format!("{row:?}"));
        assert!(error.contains(&constraint), "{row:?}: {error}");
    }
    let verified = [
        ("username", r"'\d\u'"),
        ("username_normalized", r"'\d\u'"),
        ("email_verified_at", "CURRENT_TIMESTAMP"),
    ];
    let error = insert(&t, &verified).await.unwrap_err();
    assert!(error.contains("users_email_verified_check"), "{error}");
    assert_eq!(count(&t).await, "0");
}

async fn m09_changes_that_break_a_rule_are_refused(t: Test) {
    migrate(&t, &["up"]).await;
    insert(&t, &EMAIL).await.unwrap();
    let before = fingerprint(&t).await;

    for (row, constraint) in bad_rows() {
        let is_about_email = row.iter().any(|(name, _)| name == "email");
        let is_about_version = row.iter().any(|(name, _)| name == "version");
        if !is_about_email || is_about_version {
            // The email of the row would be left as it is; and the version is moved before it is checked.
            continue;
        }
        let changes: Vec<String> = row
            .iter()
            .map(|(name, value)| format!("{name} = {}", dialect(&t, value)))
            .chain((row.len() == 1).then(|| "email_normalized = NULL".to_owned()))
            .collect();
        let statement = format!("UPDATE users SET {}", changes.join(", "));
        let error = t.sql(&statement).await.expect_err(&statement);
        assert!(error.contains(&constraint), "{statement}: {error}");
    }
    assert_eq!(fingerprint(&t).await, before);
}

async fn m09_duplicates_are_refused(t: Test) {
    migrate(&t, &["up"]).await;
    insert(&t, &EMAIL).await.unwrap();
    let username = |text| [("username", text), ("username_normalized", r"'\d\u'")];
    insert(&t, &username(r"'\d\u'")).await.unwrap();

    let (email_constraint, username_constraint) = match t.backend {
        Backend::Sqlite => ("users.email_normalized", "users.username_normalized"),
        Backend::Postgres => ("users_email_normalized_key", "users_username_normalized_key"),
    };
    let upper = [
        ("email", "'ADA@EXAMPLE.COM'"),
        ("email_normalized", "'ada@example.com'"),
    ];
    let same_email = insert(&t, &upper).await.unwrap_err();
    assert!(same_email.contains(email_constraint), "{same_email}");
    let same_username = insert(&t, &username(r"'\D\U'")).await.unwrap_err();
    assert!(same_username.contains(username_constraint), "{same_username}");
    assert_eq!(count(&t).await, "2");
}

async fn m09_rows_at_the_limits_are_accepted(t: Test) {
    migrate(&t, &["up"]).await;

    let rows: &[Row<'_>] = &[
        &[
            ("email", "repeat('a', 242) || '@example.com'"),
            ("email_normalized", "repeat('a', 242) || '@example.com'"),
            ("full_name", "repeat('é', 255)"),
            ("birth_date", "'0001-01-01'"),
            ("is_blocked", "TRUE"),
            ("block_reason", "repeat('é', 500)"),
        ],
        &[
            ("username", r"'\d\' || repeat('u', 252)"),
            ("username_normalized", r"'\d\' || repeat('u', 252)"),
            ("password_hash", HASH),
            ("auth_provider", "'password'"),
        ],
        &[
            ("email", "'a@b'"),
            ("email_normalized", "'a@b'"),
            ("birth_date", "CURRENT_DATE"),
            ("password_hash", HASH),
            ("auth_provider", "'google'"),
        ],
    ];
    for row in rows {
        insert(&t, row)
            .await
            .unwrap_or_else(|error| panic!("{row:?}: {error}"));
    }
}

async fn m09_request_ids_that_break_a_rule_are_refused(t: Test) {
    migrate(&t, &["up"]).await;
    let (bytes, id, time) = match t.backend {
        Backend::Sqlite => ("x'00ff'", "randomblob(16)", "0"),
        Backend::Postgres => (r"'\x00ff'", "gen_random_uuid()", "now()"),
    };

    let error = t
        .sql(&format!(
            "INSERT INTO request_ids (caller, method, request_id, fingerprint, user_id, expires_at)
             VALUES ('anyone', 'CreateUser', {id}, {bytes}, {id}, {time})"
        ))
        .await
        .unwrap_err();

    assert!(error.contains("request_ids_fingerprint_check"), "{error}");
}

async fn m09_types_of_postgresql_refuse_the_rest(t: Test) {
    migrate(&t, &["up"]).await;

    for (column, value, error_text) in [
        ("birth_date", "'2023-02-29'", "birth_date"),
        ("birth_date", "'infinity'", "users_birth_date_check"),
        ("birth_date", "'0044-03-15 BC'", "users_birth_date_check"),
        ("auth_provider", "'facebook'", "auth_provider"),
        ("id", "'not-a-uuid'", "uuid"),
        ("is_active", "NULL", "is_active"),
    ] {
        let row = [EMAIL.as_slice(), &[(column, value)]].concat();
        let error = insert(&t, &row).await.unwrap_err();
        assert!(
            error.contains(error_text) || error.contains("out of range"),
            "{value}: {error}"
        );
    }
}

async fn m09_checks_make_up_for_the_types_that_sqlite_lacks(t: Test) {
    migrate(&t, &["up"]).await;

    for (column, value, constraint) in [
        ("birth_date", "'2023-02-29'", "users_birth_date_check"),
        ("birth_date", "'yesterday'", "users_birth_date_check"),
        ("birth_date", "'2001-01-01 00:00:00'", "users_birth_date_check"),
        ("birth_date", "'0000-01-01'", "users_birth_date_check"),
        ("birth_date", "20010101", "users_birth_date_check"),
        ("auth_provider", "'facebook'", "users_auth_provider_check"),
        ("is_active", "2", "users_is_active_check"),
        ("is_active", "NULL", "users.is_active"),
        ("is_blocked", "'yes'", "users_is_blocked_check"),
        ("full_name", "'a' || char(0)", "users_full_name_check"),
    ] {
        let row = [EMAIL.as_slice(), &[(column, value)]].concat();
        let error = insert(&t, &row).await.expect_err(value);
        assert!(error.contains(constraint), "{column} {value}: {error}");
    }
    for id in ["NULL", "x'00'", "'0123456789abcdef'", "1"] {
        let error = t
            .sql(&format!(
                "INSERT INTO users (id, email, email_normalized) VALUES ({id}, 'a@b', 'a@b')"
            ))
            .await
            .expect_err(id);
        assert!(
            error.contains("users_id_check") || error.contains("users.id"),
            "{id}: {error}"
        );
    }
}

async fn a_row_made_by_hand_is_served(t: Test) {
    let server = t.start().await;
    let row = [EMAIL.as_slice(), &[("full_name", "'Ada'")]].concat();
    insert(&t, &row).await.unwrap();

    let ada = lookup(&server, "ADA@example.com").await;

    assert_eq!(ada.email, "ada@example.com");
    assert_eq!(ada.full_name, "Ada");
    assert!(ada.is_active && !ada.is_blocked && !ada.password_set);
    assert!(ada.create_time.is_some());
    assert_eq!(server.get(&ada.id).await.unwrap(), ada);
    // The times that the database gives are in UTC, too.
    let clock_seconds = chrono::Utc::now().timestamp();
    let age = clock_seconds - ada.create_time.unwrap().seconds;
    assert!((-60..3600).contains(&age), "{age}");
}

async fn num_06_a_change_made_by_hand_moves_the_version_and_the_time(t: Test) {
    let server = t.start().await;
    let before = server.create_user("ada@example.com").await;

    t.sql("UPDATE users SET full_name = 'Ada'").await.unwrap();

    let after = server.get(&before.id).await.unwrap();
    assert_eq!(after.full_name, "Ada");
    assert_ne!(after.etag, before.etag);
    assert!(time(&after) > time(&before));
    assert_eq!(after.create_time, before.create_time);
    assert_eq!(
        t.sql_value("SELECT version AS value FROM users").await.as_deref(),
        Some("2")
    );
}

/// Also when the clock of the database is behind that of the service, and when the statement says otherwise.
async fn num_06_a_change_made_by_hand_cannot_move_them_back(t: Test) {
    t.clock.advance(chrono::TimeDelta::days(1));
    let server = t.start().await;
    let before = server.create_user("ada@example.com").await;
    let past = match t.backend {
        Backend::Sqlite => "1",
        Backend::Postgres => "'1999-12-31'",
    };

    let mut previous = before.clone();
    for statement in [
        "UPDATE users SET full_name = 'Ada'".to_owned(),
        format!("UPDATE users SET full_name = 'Lovelace', version = 1, updated_at = {past}"),
        "UPDATE users SET version = 1".to_owned(),
    ] {
        t.sql(&statement).await.unwrap();

        let present = server.get(&before.id).await.unwrap();
        assert!(time(&present) > time(&previous), "{statement}");
        assert_ne!(present.etag, previous.etag, "{statement}");
        previous = present;
    }
    assert_eq!(
        t.sql_value("SELECT version AS value FROM users").await.as_deref(),
        Some("4")
    );
}

fn time(user: &User) -> (i64, i32) {
    let time = user.update_time.unwrap();
    (time.seconds, time.nanos)
}

async fn lookup(clients: &Clients, email: &str) -> User {
    let request = LookupUserRequest {
        identifier: Some(Identifier::Email(email.to_owned())),
    };
    let response = clients.users().lookup_user(request).await.unwrap();
    response.into_inner().user.unwrap()
}

async fn count(t: &Test) -> String {
    t.sql_value("SELECT count(*) AS value FROM users").await.unwrap()
}

/// Returns what a refused change must leave as it was.
async fn fingerprint(t: &Test) -> String {
    let query = "SELECT email || version || updated_at AS value FROM users";
    t.sql_value(query).await.unwrap()
}
