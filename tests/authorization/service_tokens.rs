//! `identity service-token`, and what its tokens open.

use chrono::TimeDelta;
use tonic::Code;

use crate::support::{AUTH, Behaviour, Failure, Test, behaviours, eventually};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        a_token_that_was_just_made_is_good_at_once,
        a_revoked_token_is_refused_on_every_server,
        a_token_expires_to_the_second,
        the_last_use_is_on_record,
        only_digests_are_stored,
        tokens_are_listed_without_their_texts,
        wrong_arguments_are_named,
        made_up_tokens_ask_the_database_a_few_times_a_second_at_most,
        known_tokens_are_good_while_the_database_is_away,
    ]
}

fn assert_refused<T: std::fmt::Debug>(outcome: Result<T, Failure>, reason: &str) {
    let failure = outcome.unwrap_err();
    assert_eq!(
        (failure.code(), failure.reason().as_str()),
        (Code::Unauthenticated, reason)
    );
}

/// Makes a token with the command.
async fn create(t: &Test, arguments: &[&str]) -> String {
    let (code, stdout, stderr) = t
        .run(&[], &[&["service-token", "create"], arguments].concat())
        .await;
    assert_eq!((code, stderr.as_str()), (0, ""));
    stdout.trim_end().to_owned()
}

/// Returns the lines of the list, each split into words.
async fn listed(t: &Test) -> Vec<Vec<String>> {
    let (code, stdout, stderr) = t.run(&[], &["service-token", "list"]).await;
    assert_eq!((code, stderr.as_str()), (0, ""));
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
    // The embedded database has one of its own.
    let of_others = |line: &&str| !line.contains(" admin  expires ");
    stdout.lines().filter(of_others).map(words).collect()
}

const FOREVER: [&str; 2] = ["--expires-in", "never"];

async fn a_token_that_was_just_made_is_good_at_once(t: Test) {
    // The server would not look by itself.
    let server = t
        .start_with(&[AUTH, ("IDENTITY_SERVICE_TOKEN_INTERVAL", "1h")])
        .await;
    for name in ["one", "two", "three"] {
        let token = create(&t, &[name, "--scope", "users.write", "--scope", "users.read"]).await;
        let client = server.with_token(&token);
        let user = client.create_user(&format!("{name}@example.com")).await;
        assert_eq!(client.get(&user.id).await.unwrap().id, user.id);
    }
}

async fn a_revoked_token_is_refused_on_every_server(t: Test) {
    let prompt = [AUTH, ("IDENTITY_SERVICE_TOKEN_INTERVAL", "100ms")];
    let servers = [t.start_with(&prompt).await, t.start_with(&prompt).await];
    let kept = create(&t, &["todo", "--scope", "users.read"]).await;
    let given_up = create(&t, &["todo", "--scope", "users.read"]).await;
    let id = "0190a5c3-0000-7000-8000-000000000000";
    for server in &servers {
        for token in [&kept, &given_up] {
            let failure = server.with_token(token).get(id).await.unwrap_err();
            assert_eq!(failure.code(), Code::NotFound);
        }
    }
    let second = listed(&t).await[1][0].clone();

    let (code, stdout, _) = t.run(&[], &["service-token", "revoke", &second]).await;

    assert_eq!((code, stdout), (0, format!("{second} of todo is revoked\n")));
    for server in &servers {
        eventually("the token is refused", async || {
            let outcome = server.with_token(&given_up).get(id).await;
            outcome.unwrap_err().code() == Code::Unauthenticated
        })
        .await;
        assert_refused(server.with_token(&given_up).get(id).await, "TOKEN_INVALID");
        let failure = server.with_token(&kept).get(id).await.unwrap_err();
        assert_eq!(
            failure.code(),
            Code::NotFound,
            "the other one of the same service"
        );
    }
    let states: Vec<String> = listed(&t).await.into_iter().map(|line| line[1].clone()).collect();
    assert_eq!(states, ["active", "revoked"]);
    // Once more, there is nothing to do.
    assert_eq!(t.run(&[], &["service-token", "revoke", &second]).await.0, 0);
    let unknown = t.run(&[], &["service-token", "revoke", id]).await;
    assert_eq!(
        unknown,
        (
            1,
            String::new(),
            "error: there is no service token with this id\n".to_owned()
        )
    );
}

async fn a_token_expires_to_the_second(t: Test) {
    let server = t.start_with(&[AUTH]).await;
    let token = create(&t, &["todo", "--scope", "users.read", "--expires-in", "1h"]).await;
    let client = server.with_token(&token);
    let id = "0190a5c3-0000-7000-8000-000000000000";

    server.clock.advance(TimeDelta::minutes(59));
    assert_eq!(client.get(id).await.unwrap_err().code(), Code::NotFound);
    server.clock.advance(TimeDelta::minutes(1));
    assert_refused(client.get(id).await, "TOKEN_EXPIRED");
}

async fn the_last_use_is_on_record(t: Test) {
    let server = t
        .start_with(&[AUTH, ("IDENTITY_SERVICE_TOKEN_INTERVAL", "100ms")])
        .await;
    let token = create(
        &t,
        &[["todo", "--scope", "users.write"].as_slice(), &FOREVER].concat(),
    )
    .await;
    assert!(listed(&t).await[0].ends_with(&["used", "never", "users.write"].map(str::to_owned)));

    server.with_token(&token).create_user("ada@example.com").await;

    eventually("the use is on record", async || {
        let line = listed(&t).await.remove(0);
        !line.ends_with(&["used", "never", "users.write"].map(str::to_owned))
    })
    .await;
}

async fn only_digests_are_stored(t: Test) {
    assert_eq!(t.run(&[], &["migrate", "up"]).await.0, 0);
    let token = create(&t, &["todo", "--scope", "admin"]).await;
    assert!(token.starts_with("ids_"));
    assert_eq!(token.len(), 4 + 2 * 36);
    let digest = ring::digest::digest(&ring::digest::SHA256, token.as_bytes());
    let stored = t.service_tokens().list_with_hashes().await.unwrap();
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0].0, digest.as_ref());
}

async fn tokens_are_listed_without_their_texts(t: Test) {
    assert_eq!(t.run(&[], &["migrate", "up"]).await.0, 0);
    assert_eq!(listed(&t).await.concat().join(" "), "there are no service tokens");
    let token = create(&t, &["todo", "--scope", "users.read", "--scope", "auth.sign_in"]).await;
    create(
        &t,
        &[["gateway", "--scope", "admin"].as_slice(), &FOREVER].concat(),
    )
    .await;

    let (_, stdout, _) = t.run(&[], &["service-token", "list"]).await;

    assert!(!stdout.contains("ids_") && !stdout.contains(&token[4..]));
    let lines = listed(&t).await;
    assert_eq!(lines[0][2], "todo");
    assert!(lines[0].ends_with(&["auth.sign_in", "users.read"].map(str::to_owned)));
    assert_eq!(lines[1][1..5], ["active", "gateway", "expires", "never"]);
}

async fn wrong_arguments_are_named(t: Test) {
    assert_eq!(t.run(&[], &["migrate", "up"]).await.0, 0);
    for (arguments, named) in [
        (["create", "a b", "--scope", "admin"].as_slice(), "NAME"),
        (&["create", "todo", "--scope", "everything"], "--scope"),
        (
            &["create", "todo", "--scope", "admin", "--expires-in", "soon"],
            "--expires-in",
        ),
        (
            &["create", "todo", "--scope", "admin", "--expires-in", "0s"],
            "--expires-in",
        ),
        (&["revoke", "todo"], "ID"),
    ] {
        let (code, stdout, stderr) = t.run(&[], &[&["service-token"], arguments].concat()).await;
        assert_eq!((code, stdout.as_str()), (1, ""), "{arguments:?}");
        assert!(stderr.starts_with(&format!("error: {named}: ")), "{stderr}");
    }
    for arguments in [["service-token"].as_slice(), &["service-token", "create", "todo"]] {
        let (code, _, stderr) = t.run(&[], arguments).await;
        assert_eq!(code, 64, "{stderr}");
    }
    assert_eq!(t.service_tokens().list_with_hashes().await.unwrap().len(), 0);
}

async fn made_up_tokens_ask_the_database_a_few_times_a_second_at_most(t: Test) {
    let server = t
        .start_with(&[AUTH, ("IDENTITY_SERVICE_TOKEN_INTERVAL", "1h")])
        .await;
    // Well-formed, so that nothing but the database can tell.
    let known = t.service_token("gone", &["admin"]).await;
    t.sql("DELETE FROM service_tokens").await.unwrap();
    let made_up = server.with_token(&known);
    let good = t.service_token("todo", &["users.write"]).await;
    server.with_token(&good).create_user("ada@example.com").await;

    let calls = (0..200).map(|_| made_up.get("nobody"));
    let outcomes = futures_util::future::join_all(calls).await;

    for outcome in outcomes {
        assert_refused(outcome, "TOKEN_INVALID");
    }
    let reads = server.metric("identity_service_token_readings_total").await;
    // One at the start and one for the first token; the two hundred shared one or two more.
    assert!(reads <= 5.0, "{reads}");
}

async fn known_tokens_are_good_while_the_database_is_away(t: Test) {
    let server = t.start_with(&[AUTH]).await;
    let token = t.service_token("todo", &["status.read"]).await;
    let client = server.with_token(&token);
    client
        .status()
        .get_status(identity::proto::identity::v1::GetStatusRequest {})
        .await
        .unwrap();

    t.sql("ALTER TABLE service_tokens RENAME TO away").await.unwrap();

    client
        .status()
        .get_status(identity::proto::identity::v1::GetStatusRequest {})
        .await
        .unwrap();
    t.sql("ALTER TABLE away RENAME TO service_tokens").await.unwrap();
}
