//! Where secrets must not be: the log at its most talkative, metrics, answers, and the database.
//!
//! The program runs as it does in production, in a process of its own, with everything logged that can be.
//! Each secret is unique, so that one look at everything the program has written finds it, in whatever form.

use identity::proto::identity::v1::{
    BatchGetUsersRequest, BlockUserRequest, DeactivateUserRequest, DeleteUserRequest, ListUsersRequest,
    LookupUserRequest, UpdateUserRequest, User, UserFilter, lookup_user_request::Identifier,
};
use prost_types::FieldMask;

use super::leakage_accounts::present_id_tokens;
use super::leakage_flows::{
    self, Trail, sign_in_at_last, sign_in_during_an_outage, sign_in_in_every_way,
};
use super::raw::RawCall;
use super::scan::{
    as_text, assert_free_of, assert_free_of_bytes, assert_names_nothing_internal, stored, text_of,
};
use super::secrets;
use crate::health::outage::Outage;
use crate::support::issuer::with_shared_issuer;
use crate::support::{
    Behaviour, Clients, Failure, PostgresCluster, Process, Test, behaviours, new_user, postgres_only,
};

pub fn tests() -> Vec<Behaviour> {
    [
        behaviours![
            s01_s06_csl_09_no_secret_is_logged_measured_answered_or_stored,
            s09_csl_10_the_echo_of_sql_has_no_values_and_is_off_by_default,
        ],
        postgres_only![
            s01_the_password_of_the_database_is_never_logged,
            d13_a_wrong_password_of_the_database_stops_the_start_and_is_not_quoted,
        ],
    ]
    .concat()
}

/// A password that is accepted, and parts of ones that are not.
pub const PASSWORD: &str = "Canary-Xq7!-password-Zw9";
pub const TOO_LONG: &str = "Canary-Xq7!-too-long-Zw9-Canary-Xq7!-too-long-Zw9-Canary-Xq7!-too-long-Zw9";
pub const TOO_SHORT: &str = "Cnry-Xq7!";
pub const WITH_NUL: &str = "Canary-Xq7!-with-\0-nul";

/// An email; it may be logged nowhere, and is a label of no metric.
const EMAIL: &str = "canary.zk4q@example.com";

/// Everything that can be logged, for everyone.
const TALKATIVE: [(&str, &str); 2] = [("IDENTITY_LOG", "trace"), ("IDENTITY_DATABASE_ECHO", "on")];

async fn s01_s06_csl_09_no_secret_is_logged_measured_answered_or_stored(t: Test) {
    let outage = Outage::of(&t).await;
    let own = [
        ("DATABASE_URL", outage.database_url()),
        ("IDENTITY_SIGN_UP", "on"),
    ];
    let variables = [own.as_slice(), &TALKATIVE, &with_shared_issuer()].concat();
    let mut process = t.spawn(&variables, &["serve"]);
    process.wait_until_serving().await;

    let mut failures = use_every_flow(&process).await;
    let mut trail = sign_in_in_every_way(&process).await;
    let tokens = sign_in_at_last(&process, &mut trail).await;
    present_id_tokens(&t, &process, &mut trail).await;
    show_service_tokens(&t, &process, &mut trail).await;
    let keys = secrets::keys(&t).await;
    let hashes =
        t.sql_values("SELECT password_hash AS value FROM users WHERE password_hash IS NOT NULL");
    let hashes: Vec<String> = hashes.await.into_iter().flatten().collect();
    assert!(hashes.len() >= 2, "{hashes:?}");
    outage.begin();
    process.wait_until_not_serving().await;
    // Some of it still succeeds on SQLite, where open connections keep the file.
    failures.extend(
        create_with_password(&process, "later@example.com", PASSWORD)
            .await
            .err(),
    );
    failures.extend(process.get("0190a6e1-7d5c-7abc-8def-0123456789ab").await.err());
    sign_in_during_an_outage(&process, &mut trail, &tokens).await;
    outage.end();
    process.wait_until_serving().await;
    failures.extend(create_with_password(&process, EMAIL, PASSWORD).await.err());
    let (_, metrics) = process.http_get("/metrics").await;
    assert!(metrics.contains("identity_panics_total 0"));
    // The write-ahead log of SQLite is there only while the server runs.
    let mut at_rest = stored(&t).await;
    process.terminate();
    process.wait().await;
    at_rest.extend(stored(&t).await);

    let key = secrets::master_key(&t);
    let passwords = [PASSWORD, TOO_LONG, TOO_SHORT, WITH_NUL];
    let ends = secrets::ends_of(&trail.tokens);
    // The hashes are where they belong, in the database; all of this is nowhere.
    let never_stored: Vec<&str> = passwords
        .into_iter()
        .chain(leakage_flows::PASSWORDS)
        .chain([key.as_str()])
        .chain(trail.tokens.iter().chain(&ends).map(String::as_str))
        .chain(trail.id_tokens.iter().map(String::as_str))
        .collect();
    let hashes: Vec<&str> = hashes.iter().map(String::as_str).collect();
    let never_shown = [never_stored.as_slice(), &hashes].concat();
    let codes = secrets::codes_of(&trail.tokens);
    let digests = secrets::digests_of(&trail.tokens);
    let people = [EMAIL, "Canary Lovelace", leakage_flows::EMAIL];
    assert_logged_everything(&process);
    for (place, text) in [("the log", &process.output()), ("the metrics", &metrics)] {
        assert_free_of(place, text, &never_shown);
        assert_free_of(place, text, &people);
        for bytes in [&keys, &codes, &digests] {
            assert_free_of_bytes(place, text, bytes);
        }
    }
    assert!(failures.len() >= 12, "{failures:?}");
    assert!(trail.failures.len() >= 50, "{:?}", trail.failures);
    for failure in failures.iter().chain(&trail.failures) {
        let text = text_of(failure);
        assert_free_of("a refusal", &text, &never_shown);
        for bytes in [&keys, &codes, &digests] {
            assert_free_of_bytes("a refusal", &text, bytes);
        }
        assert_names_nothing_internal(failure);
    }
    for answer in &trail.answers {
        // Tokens are what some answers are for.
        let text = as_text(answer);
        assert_free_of("an answer", &text, &passwords);
        assert_free_of("an answer", &text, &leakage_flows::PASSWORDS);
        assert_free_of("an answer", &text, &hashes);
        assert_free_of_bytes("an answer", &text, &keys);
        assert_free_of_bytes("an answer", &text, &digests);
    }
    for (place, text) in &at_rest {
        assert_free_of(place, text, &never_stored);
        assert_free_of_bytes(place, text, &keys);
        assert_free_of_bytes(place, text, &codes);
    }
}

/// Calls with service tokens: a good one, one with the wrong scope, one that was revoked, and one that was mistyped.
async fn show_service_tokens(t: &Test, clients: &Clients, trail: &mut Trail) {
    let good = t.service_token("good", &["users.read"]).await;
    let wrong = t.service_token("wrong", &["status.read"]).await;
    let revoked = t.service_token("revoked", &["users.read"]).await;
    t.sql("UPDATE service_tokens SET revoked_at = created_at WHERE name = 'revoked'")
        .await
        .unwrap();
    let mistyped = good.replace("ids_", "ids_0");
    for token in [&good, &wrong, &revoked, &mistyped] {
        let outcome = clients
            .with_token(token)
            .get("0190a6e1-7d5c-7abc-8def-0123456789ab")
            .await;
        trail.failures.push(outcome.expect_err("nobody has this id"));
    }
    trail.tokens.extend([good, wrong, revoked]);
}

async fn s09_csl_10_the_echo_of_sql_has_no_values_and_is_off_by_default(t: Test) {
    let mut quiet = t.spawn(&[], &["serve"]);
    quiet.wait_until_serving().await;
    use_every_flow(&quiet).await;
    assert!(
        !quiet.output().to_lowercase().contains("insert into"),
        "{}",
        quiet.output()
    );
    quiet.terminate();
    quiet.wait().await;
    t.sql("DELETE FROM request_ids; DELETE FROM users").await.unwrap();

    let mut echoing = t.spawn(&[("IDENTITY_DATABASE_ECHO", "on")], &["serve"]);
    echoing.wait_until_serving().await;
    use_every_flow(&echoing).await;
    let output = echoing.output();
    let statements: Vec<&str> = output
        .lines()
        .filter(|line| line.contains("identity::sql"))
        .collect();
    for verb in ["INSERT INTO", "SELECT", "UPDATE", "DELETE FROM"] {
        assert!(
            statements.iter().any(|line| line.contains(verb)),
            "{verb}: {statements:#?}"
        );
    }
    // What was written and looked for, as callers sent it.
    let values = [
        EMAIL,
        "Canary Lovelace",
        "canary reason",
        "canary.prefix",
        "1815-12-10",
        "$2b$",
    ];
    assert_free_of("the echo", &output, &values);
}

async fn s01_the_password_of_the_database_is_never_logged(t: Test) {
    let password = "Canary-db:@/?%-Zw9";
    let cluster = PostgresCluster::start_with_password(password).await;
    let url = cluster.url("postgres");
    let own = [("DATABASE_URL", url.as_str())];
    let mut process = t.spawn(&[own.as_slice(), &TALKATIVE].concat(), &["serve"]);
    process.wait_until_serving().await;

    let failures = use_every_flow(&process).await;
    cluster.stop().await;
    process.wait_until_not_serving().await;
    let in_outage = process
        .get("0190a6e1-7d5c-7abc-8def-0123456789ab")
        .await
        .unwrap_err();
    cluster.start_again().await;
    process.wait_until_serving().await;
    let (_, metrics) = process.http_get("/metrics").await;

    assert_logged_everything(&process);
    let (_, printed, _) = t.run(&own, &["config"]).await;
    assert!(
        printed.contains("DATABASE_URL=postgres://postgres:***@127.0.0.1"),
        "{printed}"
    );
    let secrets = [password, PASSWORD];
    assert_free_of("the log", &process.output(), &secrets);
    assert_free_of("the metrics", &metrics, &secrets);
    assert_free_of("the settings", &printed, &secrets);
    for failure in failures.iter().chain([&in_outage]) {
        assert_free_of("an answer", &text_of(failure), &secrets);
        assert_names_nothing_internal(failure);
    }
}

async fn d13_a_wrong_password_of_the_database_stops_the_start_and_is_not_quoted(t: Test) {
    let cluster = PostgresCluster::start_with_password("right").await;
    let wrong = "Canary-db-Xq7";
    let url = cluster.url("postgres").replace("right", wrong);
    let own = [
        ("DATABASE_URL", url.as_str()),
        ("IDENTITY_DATABASE_CONNECT_TIMEOUT", "1s"),
    ];

    let (code, stdout, stderr) = t.run(&[own.as_slice(), &TALKATIVE].concat(), &["serve"]).await;

    assert_eq!(code, 1, "{stderr}");
    let last = stderr.lines().last().unwrap();
    assert!(last.starts_with("error: DATABASE_URL: "), "{last}");
    assert_free_of("the output", &(stdout + &stderr), &[wrong]);
}

/// Calls everything there is, well and badly. Returns the failures.
async fn use_every_flow(clients: &Clients) -> Vec<Failure> {
    let mut failures = Vec::new();
    let user = new_user()
        .email(EMAIL)
        .username(r"\canary\ada")
        .full_name("Canary Lovelace")
        .birth_date(1815, 12, 10)
        .password(PASSWORD)
        .request_id("0190a6e1-7d5c-4abc-8def-0123456789ab");
    let ada = clients.create(user.clone()).await.unwrap();
    // The same again, and another request with the same id.
    clients.create(user.clone()).await.unwrap();
    failures.extend(
        clients
            .create(user.password(&PASSWORD.replace('C', "K")))
            .await
            .err(),
    );
    // Passwords that are refused, taken names, and a password in the wrong place.
    for password in [TOO_LONG, TOO_SHORT, WITH_NUL] {
        failures.extend(
            create_with_password(clients, "grace@example.com", password)
                .await
                .err(),
        );
    }
    failures.extend(create_with_password(clients, EMAIL, PASSWORD).await.err());
    let misplaced = [
        new_user().email(PASSWORD),
        new_user().username(PASSWORD),
        new_user().email("grace@example.com").user_id(PASSWORD),
        new_user().email("grace@example.com").request_id(PASSWORD),
    ];
    for wrong in misplaced {
        failures.extend(clients.create(wrong).await.err());
    }
    failures.extend(clients.get(PASSWORD).await.err());
    failures.extend(
        use_the_other_methods(clients, &ada)
            .await
            .into_iter()
            .map(Failure::from),
    );
    // A password next to bytes that are no text: the request as a whole cannot be read.
    let password = PASSWORD.as_bytes();
    let length = u8::try_from(password.len()).unwrap();
    let mut message = vec![3 << 3 | 2, length];
    message.extend(password);
    message.extend([4 << 3 | 2, 1, 0xff]);
    let path = "/identity.v1.UserService/CreateUser";
    failures.extend(RawCall::new(path, &message).send(clients).await.err());
    let call = RawCall::new(&format!("{path}?{PASSWORD}"), &message);
    failures.extend(call.send(clients).await.err());
    failures
}

/// Reads, changes and deletes Ada. Returns the failures.
async fn use_the_other_methods(clients: &Clients, ada: &User) -> Vec<tonic::Status> {
    let mut users = clients.users();
    let mut failures = Vec::new();
    for email in [EMAIL, PASSWORD, "canary-nobody@example.com"] {
        let identifier = Some(Identifier::Email(email.to_owned()));
        failures.extend(users.lookup_user(LookupUserRequest { identifier }).await.err());
    }
    let identifier = Some(Identifier::Username(PASSWORD.to_owned()));
    failures.extend(users.lookup_user(LookupUserRequest { identifier }).await.err());
    for token in ["", PASSWORD] {
        let list = ListUsersRequest {
            page_token: token.to_owned(),
            filter: Some(UserFilter {
                email_prefix: "canary.prefix".to_owned(),
                ..UserFilter::default()
            }),
            ..ListUsersRequest::default()
        };
        failures.extend(users.list_users(list).await.err());
    }
    let user_ids = vec![ada.id.clone(), PASSWORD.to_owned()];
    failures.extend(
        users
            .batch_get_users(BatchGetUsersRequest { user_ids })
            .await
            .err(),
    );
    let update = |etag: &str, path: &str| UpdateUserRequest {
        user: Some(User {
            id: ada.id.clone(),
            full_name: "Canary Lovelace, Countess".to_owned(),
            etag: etag.to_owned(),
            ..User::default()
        }),
        update_mask: Some(FieldMask {
            paths: vec![path.to_owned()],
        }),
        ..UpdateUserRequest::default()
    };
    for (etag, path) in [("", "full_name"), (PASSWORD, "full_name"), ("", PASSWORD)] {
        failures.extend(users.update_user(update(etag, path)).await.err());
    }
    let block = BlockUserRequest {
        user_id: ada.id.clone(),
        reason: "canary reason".to_owned(),
        ..BlockUserRequest::default()
    };
    failures.extend(users.block_user(block).await.err());
    let user_id = ada.id.clone();
    let deactivate = DeactivateUserRequest {
        user_id,
        ..DeactivateUserRequest::default()
    };
    failures.extend(users.deactivate_user(deactivate).await.err());
    let grace = create_with_password(clients, "grace@example.com", PASSWORD)
        .await
        .unwrap();
    let delete = DeleteUserRequest {
        user_id: grace.id,
        ..DeleteUserRequest::default()
    };
    failures.extend(users.delete_user(delete).await.err());
    failures
}

async fn create_with_password(clients: &Clients, email: &str, password: &str) -> Result<User, Failure> {
    clients.create(new_user().email(email).password(password)).await
}

/// A secret could be missing from a log only because there was none.
fn assert_logged_everything(process: &Process) {
    let output = process.output();
    for sign in ["\"TRACE\"", "identity::sql", "call answered"] {
        assert!(output.contains(sign), "the log has no {sign}");
    }
}
