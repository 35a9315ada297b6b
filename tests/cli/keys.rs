//! `identity keys`.

use chrono::{DateTime, TimeDelta, Utc};

use crate::support::{Backend, Behaviour, Test, behaviours, postgres_only, sqlite_only};

pub fn tests() -> Vec<Behaviour> {
    [
        behaviours![
            list_shows_each_key_with_its_state_and_times,
            list_says_that_there_are_no_keys_yet,
            rotate_says_when_each_key_signs,
            rotate_makes_the_first_key,
            revoke_says_what_signs_instead,
            revoking_the_next_key_leaves_the_present_one,
            revoke_of_an_unknown_key_fails_and_changes_nothing,
            revoke_of_a_revoked_key_has_nothing_to_do,
            wrong_arguments_are_a_matter_of_usage,
            without_a_schema_it_fails_and_names_the_variable,
        ],
        postgres_only![without_a_database_it_fails_and_names_the_variable],
        sqlite_only![without_a_file_it_fails_and_names_the_variable],
    ]
    .concat()
}

/// Runs a command that succeeds, and returns its lines.
async fn lines(t: &Test, arguments: &[&str]) -> Vec<String> {
    let (code, stdout, stderr) = t.run(&[], arguments).await;
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    stdout.lines().map(str::to_owned).collect()
}

/// Returns the keys as listed: id, state, from and to.
async fn listed(t: &Test) -> Vec<[String; 4]> {
    let lines = lines(t, &["keys", "list"]).await;
    lines
        .iter()
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [kid, state, "signs", "from", from, "to", to] = words[..] else {
                panic!("{line}");
            };
            assert_eq!(kid.len(), 43);
            [kid, state, from, to].map(str::to_owned)
        })
        .collect()
}

fn time(text: &str) -> DateTime<Utc> {
    assert!(text.ends_with('Z') && !text.contains('.'), "{text}");
    text.parse().expect(text)
}

fn assert_about(text: &str, expected: DateTime<Utc>) {
    let difference = (time(text) - expected).abs();
    assert!(difference < TimeDelta::minutes(2), "{text}, not {expected}");
}

async fn list_shows_each_key_with_its_state_and_times(t: Test) {
    let now = Utc::now();
    drop(t.start().await);
    let [[first, state, from, to]] = listed(&t).await.try_into().unwrap();
    assert_eq!((state.as_str(), to.as_str()), ("active", "-"));
    assert_about(&from, now);

    lines(&t, &["keys", "rotate"]).await;
    let keys = listed(&t).await;
    let states: Vec<&str> = keys.iter().map(|key| key[1].as_str()).collect();
    assert_eq!(states, ["active", "upcoming"]);
    assert_eq!(keys[0][0], first);
    assert_about(&keys[0][3], now + TimeDelta::minutes(10));
    assert_eq!(keys[1][2], keys[0][3]);

    lines(&t, &["keys", "revoke", &first]).await;
    let [revoked, active] = listed(&t).await.try_into().unwrap();
    assert_eq!([revoked[1].as_str(), active[1].as_str()], ["revoked", "active"]);

    let past = match t.backend {
        Backend::Sqlite => "1000000",
        Backend::Postgres => "'1970-01-01 00:00:01Z'",
    };
    t.sql(&format!(
        "UPDATE signing_keys SET revoked_at = NULL, activates_at = {past}, retires_at = {past} \
         WHERE kid = '{first}'"
    ))
    .await
    .unwrap();
    let [retired, _] = listed(&t).await.try_into().unwrap();
    let expected = [
        first.as_str(),
        "retired",
        "1970-01-01T00:00:01Z",
        "1970-01-01T00:00:01Z",
    ];
    assert_eq!(retired, expected);
}

async fn list_says_that_there_are_no_keys_yet(t: Test) {
    assert_eq!(t.run(&[], &["migrate", "up"]).await.0, 0);
    assert_eq!(
        lines(&t, &["keys", "list"]).await,
        ["there are no keys; the server makes the first one when it starts"]
    );
    // Listing makes none.
    assert_eq!(lines(&t, &["keys", "list"]).await.len(), 1);
    assert_eq!(count(&t).await, "0");
}

async fn count(t: &Test) -> String {
    t.sql_value("SELECT count(*) AS value FROM signing_keys")
        .await
        .unwrap()
}

async fn rotate_says_when_each_key_signs(t: Test) {
    drop(t.start().await);

    let lines = lines(&t, &["keys", "rotate"]).await;

    let [[old, _, _, end], [new, _, begin, _]] = listed(&t).await.try_into().unwrap();
    assert_eq!(
        lines,
        [
            format!("{old} signs until {end}"),
            format!("{new} signs from {begin}")
        ]
    );
}

async fn rotate_makes_the_first_key(t: Test) {
    assert_eq!(t.run(&[], &["migrate", "up"]).await.0, 0);

    let lines = lines(&t, &["keys", "rotate"]).await;

    let [[kid, state, from, _]] = listed(&t).await.try_into().unwrap();
    // Nobody has a list of keys that it would be missing from.
    assert_eq!(state, "active");
    assert_eq!(lines, [format!("{kid} signs from {from}")]);
    // The server takes it.
    let server = t.start().await;
    assert_eq!(server.signing_keys().await[0].kid, kid);
    assert_eq!(count(&t).await, "1");
}

async fn revoke_says_what_signs_instead(t: Test) {
    drop(t.start().await);
    let [[first, ..]] = listed(&t).await.try_into().unwrap();

    let lines = lines(&t, &["keys", "revoke", &first]).await;

    let [_, [second, state, from, to]] = listed(&t).await.try_into().unwrap();
    assert_eq!((state.as_str(), to.as_str()), ("active", "-"));
    assert_eq!(
        lines,
        [
            format!("{first} is revoked"),
            format!("{second} signs from {from}")
        ]
    );
}

async fn revoking_the_next_key_leaves_the_present_one(t: Test) {
    drop(t.start().await);
    lines(&t, &["keys", "rotate"]).await;
    let [[first, ..], [second, ..]] = listed(&t).await.try_into().unwrap();

    lines(&t, &["keys", "revoke", &second]).await;

    let keys = listed(&t).await;
    assert_eq!(keys.len(), 2, "no third one is needed");
    let first = keys.iter().find(|key| key[0] == first).unwrap();
    assert_eq!((first[1].as_str(), first[3].as_str()), ("active", "-"));
    let second = keys.iter().find(|key| key[0] == second).unwrap();
    assert_eq!(second[1], "revoked");
}

async fn revoke_of_an_unknown_key_fails_and_changes_nothing(t: Test) {
    drop(t.start().await);
    let before = listed(&t).await;
    let shorter = &before[0][0][..42];

    // Ids are in base64url, so that they may begin like an option.
    for unknown in [
        "unknown",
        "",
        "%",
        "' OR '1'='1",
        shorter,
        "-x",
        "-hx",
        "-Vx",
        "--x",
        "-",
    ] {
        let (code, stdout, stderr) = t.run(&[], &["keys", "revoke", unknown]).await;
        assert_eq!((code, stdout.as_str()), (1, ""), "{unknown}");
        assert_eq!(stderr, "error: there is no signing key with this id\n");
    }
    assert_eq!(listed(&t).await, before);
}

async fn revoke_of_a_revoked_key_has_nothing_to_do(t: Test) {
    drop(t.start().await);
    let [[first, ..]] = listed(&t).await.try_into().unwrap();
    lines(&t, &["keys", "revoke", &first]).await;
    let before = listed(&t).await;

    assert_eq!(lines(&t, &["keys", "revoke", &first]).await, ["nothing to do"]);

    assert_eq!(listed(&t).await, before);
}

async fn wrong_arguments_are_a_matter_of_usage(t: Test) {
    for arguments in [
        ["keys"].as_slice(),
        &["keys", "nope"],
        &["keys", "revoke"],
        &["keys", "revoke", "one", "two"],
        &["keys", "list", "one"],
        &["keys", "rotate", "one"],
    ] {
        let (code, stdout, stderr) = t.run(&[], arguments).await;
        assert_eq!((code, stdout.as_str()), (64, ""), "{arguments:?}");
        assert!(stderr.contains("Usage: identity keys"), "{stderr}");
    }
}

/// Checks that no command does anything, and that each says in one line which setting to look at.
async fn assert_database_named(t: &Test, variables: &[(&str, &str)]) {
    for arguments in [
        ["keys", "list"].as_slice(),
        &["keys", "rotate"],
        &["keys", "revoke", "kid"],
    ] {
        let (code, stdout, stderr) = t.run(variables, arguments).await;
        assert_eq!((code, stdout.as_str()), (1, ""), "{arguments:?}");
        let errors: Vec<&str> = stderr.lines().filter(|line| !line.starts_with('{')).collect();
        assert_eq!(errors.len(), 1, "{stderr}");
        assert!(errors[0].starts_with("error: DATABASE_URL: "), "{stderr}");
        assert!(!stderr.contains("canary"), "{stderr}");
    }
}

async fn without_a_schema_it_fails_and_names_the_variable(t: Test) {
    // A database that is there, and empty.
    t.sql("CREATE TABLE empty (x int)").await.unwrap();
    assert_database_named(&t, &[]).await;
}

async fn without_a_database_it_fails_and_names_the_variable(t: Test) {
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let url = format!("postgres://ada:canary@{closed}/x");
    let variables = [
        ("DATABASE_URL", url.as_str()),
        ("IDENTITY_DATABASE_CONNECT_TIMEOUT", "300ms"),
    ];
    assert_database_named(&t, &variables).await;
}

async fn without_a_file_it_fails_and_names_the_variable(t: Test) {
    let path = t.directory().join("nowhere.db");
    let url = format!("sqlite://{}", path.display());
    assert_database_named(&t, &[("DATABASE_URL", &url)]).await;
}
