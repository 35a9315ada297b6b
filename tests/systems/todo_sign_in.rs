//! The todo application: password hashes; registering, signing in, and asking who one is.

use chrono::TimeDelta;
use identity::config::{Settings, Sources};
use identity::proto::identity::v1::{GetMeRequest, GetMeResponse, SignUpRequest, User};
use tonic::Code;

use super::calls::block;
use super::kept_out::assert_wrong;
use super::todo::CONFIGURATION;
use crate::support::{Behaviour, Clients, Failure, PASSWORD, Test, bearing, behaviours, plain};

pub fn tests() -> Vec<Behaviour> {
    [
        behaviours![
            todo_01_hashes_have_cost_12_and_salts_of_their_own,
            todo_01_every_verdict_takes_one_hash,
            todo_07_register_sign_in_and_who_am_i,
            todo_07_registering_is_off_unless_switched_on,
        ],
        plain![todo_01_the_cost_is_12_by_default],
    ]
    .concat()
}

fn todo_01_the_cost_is_12_by_default() {
    let settings = Settings::read(&Sources::from_pairs(&[])).unwrap();
    assert_eq!(settings.passwords.hashing.cost, 12);
}

async fn todo_01_hashes_have_cost_12_and_salts_of_their_own(t: Test) {
    // All other tests make do with less.
    let unset = [("IDENTITY_BCRYPT_COST", "")];
    let server = t.start_with(&[CONFIGURATION, &unset].concat()).await;
    let emails = ["ada@example.com", "grace@example.com"];
    for email in emails {
        server.create_with_password(email).await;
    }

    let stored = t.sql_values("SELECT password_hash AS value FROM users").await;

    let hashes: Vec<String> = stored.into_iter().flatten().collect();
    for hash in &hashes {
        let (prefix, rest) = hash.split_at(7);
        assert_eq!((prefix, rest.len()), ("$2b$12$", 53), "{hash}");
        let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"./".contains(&byte);
        assert!(rest.bytes().all(is_base64), "{hash}");
        assert!(bcrypt::verify(PASSWORD, hash).unwrap());
    }
    // 22 characters of salt, 31 of hash: neither is the other's.
    let [first, second] = hashes.as_slice() else {
        panic!("{hashes:?}");
    };
    assert_ne!(first[7..29], second[7..29]);
    assert_ne!(first[29..], second[29..]);
    server.sign_in(emails[0], PASSWORD).await.unwrap();
    assert_wrong(&server, emails[0], "correct horse batterx").await;
}

/// The time of an answer tells nothing because the work is the same, whoever is meant.
async fn todo_01_every_verdict_takes_one_hash(t: Test) {
    let server = t.start_with(CONFIGURATION).await;
    server.create_with_password("ada@example.com").await;
    server.create_user("invited@example.com").await;
    let blocked = server.create_with_password("blocked@example.com").await;
    block(&server, &blocked.id, "").await;
    let too_long = "x".repeat(73);
    for (identifier, password) in [
        ("ada@example.com", PASSWORD),
        ("ada@example.com", "correct horse batterx"),
        ("ada@example.com", "x"),
        ("ada@example.com", too_long.as_str()),
        ("invited@example.com", PASSWORD),
        ("blocked@example.com", PASSWORD),
        ("nobody@example.com", PASSWORD),
        ("neither an email nor a username", PASSWORD),
    ] {
        let before = server.metric("identity_hashing_computed_total").await;
        let outcome = server.sign_in(identifier, password).await;
        let after = server.metric("identity_hashing_computed_total").await;

        let is_right = (identifier, password) == ("ada@example.com", PASSWORD);
        assert_eq!(outcome.is_ok(), is_right, "{identifier} {password}");
        assert_eq!(after - before, 1.0, "{identifier} {password}");
    }
}

async fn todo_07_register_sign_in_and_who_am_i(t: Test) {
    let on = [("IDENTITY_SIGN_UP", "on")];
    let server = t.start_with(&[CONFIGURATION, &on].concat()).await;

    let response = server.auth().sign_up(ada()).await.unwrap().into_inner();

    let (user, tokens) = (response.user.unwrap(), response.tokens.unwrap());
    assert_eq!(user, server.get(&user.id).await.unwrap());
    let registered = who_am_i(&server, &tokens.access_token).await.unwrap();
    assert_eq!(registered.user.as_ref(), Some(&user));
    assert_eq!(registered.session.unwrap().id, tokens.session_id);

    let signed_in = server.sign_in("ADA@example.com", PASSWORD).await.unwrap();
    let me = who_am_i(&server, &signed_in.access_token).await.unwrap();
    assert_eq!(me.user.as_ref(), Some(&user));
    let session = me.session.unwrap();
    assert_eq!((&session.id, &session.user_id), (&signed_in.session_id, &user.id));
    assert_ne!(signed_in.session_id, tokens.session_id);

    let refused = |outcome: Result<GetMeResponse, Failure>, reason: &str| {
        let failure = outcome.unwrap_err();
        let expected = (Code::Unauthenticated, reason.to_owned());
        assert_eq!((failure.code(), failure.reason()), expected);
    };
    let nobody = server.auth().get_me(GetMeRequest {}).await;
    refused(
        nobody.map_err(Failure::from).map(tonic::Response::into_inner),
        "TOKEN_REQUIRED",
    );
    refused(who_am_i(&server, &signed_in.refresh_token).await, "TOKEN_INVALID");
    server.clock.advance(TimeDelta::minutes(5));
    refused(who_am_i(&server, &signed_in.access_token).await, "TOKEN_EXPIRED");
    let next = server.refresh(&signed_in.refresh_token).await.unwrap();
    assert_eq!(
        who_am_i(&server, &next.access_token).await.unwrap().user,
        Some(user)
    );
}

async fn todo_07_registering_is_off_unless_switched_on(t: Test) {
    let server = t.start_with(CONFIGURATION).await;

    let failure = Failure::from(server.auth().sign_up(ada()).await.unwrap_err());

    assert_eq!(
        (failure.code(), failure.reason().as_str()),
        (Code::FailedPrecondition, "SIGN_UP_DISABLED")
    );
    assert_eq!(super::count(&t, "users").await, "0");
}

fn ada() -> SignUpRequest {
    SignUpRequest {
        user: Some(User {
            email: "ada@example.com".to_owned(),
            ..User::default()
        }),
        password: PASSWORD.to_owned(),
        ..SignUpRequest::default()
    }
}

async fn who_am_i(clients: &Clients, access_token: &str) -> Result<GetMeResponse, Failure> {
    let request = bearing(access_token, GetMeRequest {});
    let response = clients.auth().get_me(request).await?;
    Ok(response.into_inner())
}
