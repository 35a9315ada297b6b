//! Access tokens, verified offline.

use chrono::TimeDelta;
use futures_util::future::join_all;
use identity_tasks::proto::tasks::v1::ListTasksRequest;
use serde_json::{Value, json};
use tonic::Code;

use crate::support::{
    Behaviour, Clients, Forger, PASSWORD, Test, behaviours, claims_of, eventually, header_of, kid_of,
    parts_of,
};
use crate::world::{Place, Refused, Tasks, World};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        tokens_are_good_while_identity_is_away,
        a_call_without_a_token_of_a_user_is_refused,
        forged_tokens_are_refused,
        a_token_expires_on_the_second,
        unknown_keys_are_asked_for_once_in_a_while,
        a_new_key_is_fetched_when_it_is_used,
        a_revoked_key_is_given_up_within_a_minute_of_use,
        without_keys_callers_are_told_to_come_again,
    ]
}

/// Has identity look for new keys all the time.
const PROMPT: (&str, &str) = ("IDENTITY_SIGNING_KEY_INTERVAL", "100ms");

async fn refusal_of(tasks: &Tasks, token: &str) -> Refused {
    let outcome = tasks.client(token).list_tasks(ListTasksRequest::default()).await;
    Refused::from(outcome.expect_err(token))
}

async fn is_good(tasks: &Tasks, token: &str) -> bool {
    let outcome = tasks.client(token).list_tasks(ListTasksRequest::default()).await;
    outcome.is_ok()
}

async fn assert_invalid(tasks: &Tasks, token: &str) {
    let failure = refusal_of(tasks, token).await;
    assert_eq!(failure.why(), (Code::Unauthenticated, "TOKEN_INVALID"), "{token}");
}

/// Returns how often the keys of identity were asked for over gRPC.
async fn fetches(identity: &Clients) -> f64 {
    let metric =
        "identity_grpc_calls_total{method=\"/identity.v1.AuthService/ListSigningKeys\",code=\"OK\"}";
    identity.metric(metric).await
}

async fn tokens_are_good_while_identity_is_away(t: Test) {
    let world = World::start(&t, Place::Apart).await;
    let ada = world.person("ada@example.com").await;
    let grace = world.person("grace@example.com").await;
    ada.create("before").await.unwrap();
    let fetched = fetches(&world.identity).await;
    assert_eq!(fetched, 1.0);
    world.identity.shutdown().await;

    ada.create("after").await.unwrap();
    // Also one that has not been seen before, and when the keys are old.
    assert!(grace.titles().await.is_empty());
    t.clock.advance(TimeDelta::minutes(4));
    assert_eq!(ada.titles().await, ["after", "before"]);
}

async fn a_call_without_a_token_of_a_user_is_refused(t: Test) {
    let world = World::start(&t, Place::Shared).await;
    let (_, tokens) = world.identity.signed_in("ada@example.com").await;
    let service_token = t.service_token("todo", &["admin"]).await;

    let mut other_scheme = tonic::Request::new(ListTasksRequest::default());
    let basic = "Basic YWRhOnNlY3JldA==".parse().unwrap();
    other_scheme.metadata_mut().insert("authorization", basic);
    for request in [tonic::Request::new(ListTasksRequest::default()), other_scheme] {
        let outcome = world.tasks.stranger().list_tasks(request).await;
        let failure = Refused::from(outcome.unwrap_err());
        assert_eq!(failure.why(), (Code::Unauthenticated, "TOKEN_REQUIRED"));
    }

    for token in [
        "nonsense",
        ".",
        "..",
        &tokens.refresh_token,
        &service_token,
        &"x".repeat(5000),
    ] {
        assert_invalid(&world.tasks, token).await;
    }
    assert!(is_good(&world.tasks, &tokens.access_token).await);
}

async fn forged_tokens_are_refused(t: Test) {
    let world = World::start(&t, Place::Shared).await;
    let (_, tokens) = world.identity.signed_in("ada@example.com").await;
    let token = tokens.access_token.as_str();
    let (header, claims) = (header_of(token), claims_of(token));
    let service = Forger::with_key_of_service(&t).await;
    let stranger = Forger::with_key_of_its_own();
    // Without this, the rest could fail to forge and prove nothing.
    assert!(is_good(&world.tasks, &service.sign(&claims)).await);

    let [head, body, signature] = parts_of(token);
    let mut forged = vec![
        format!("{head}.{body}."),
        format!("{head}.{body}"),
        format!("{head}.{body}.{signature}="),
        format!("{head}.{body}.{}", &signature[..signature.len() - 4]),
        format!("{token}.{signature}"),
        // Signed by somebody else, with an id of a key of theirs or of ours.
        stranger.sign(&claims),
        stranger.sign_under(&header, &claims),
        service.sign_texts(&header.to_string(), "[]"),
        service.sign_texts(&header.to_string(), "nonsense"),
        service.sign_texts("[]", &claims.to_string()),
    ];
    let with = |part: &Value, name: &str, value: Value| {
        let mut changed = part.clone();
        changed[name] = value;
        changed
    };
    let without = |part: &Value, name: &str| {
        let mut changed = part.clone();
        changed.as_object_mut().unwrap().remove(name);
        changed
    };
    for (name, value) in [
        ("alg", json!("none")),
        ("alg", json!("HS256")),
        ("alg", json!("RS256")),
        ("alg", json!("ES384")),
        ("alg", json!("es256")),
        ("alg", json!(null)),
        ("typ", json!("JWT")),
        ("typ", json!("id+jwt")),
        ("kid", json!("")),
        ("kid", json!(7)),
        ("kid", json!("../../etc/passwd")),
        ("crit", json!(["exp"])),
    ] {
        forged.push(service.sign_under(&with(&header, name, value), &claims));
    }
    for name in ["alg", "typ", "kid"] {
        forged.push(service.sign_under(&without(&header, name), &claims));
    }
    let soon = claims["iat"].as_i64().unwrap() + 60;
    for (name, value) in [
        ("iss", json!("somebody-else")),
        ("iss", json!("identity/")),
        ("aud", json!("another-service")),
        ("aud", json!(["another-service"])),
        ("aud", json!({})),
        ("sub", json!("")),
        ("sub", json!("ada@example.com")),
        ("sub", json!(claims["sub"].as_str().unwrap().to_uppercase())),
        ("exp", json!("tomorrow")),
        ("exp", json!(1e300)),
        ("exp", json!(null)),
        ("iat", json!(soon)),
        ("nbf", json!(soon)),
        ("nbf", json!("now")),
    ] {
        forged.push(service.sign(&with(&claims, name, value)));
    }
    for name in ["iss", "aud", "sub", "exp", "iat"] {
        forged.push(service.sign(&without(&claims, name)));
    }
    for forgery in forged {
        assert_invalid(&world.tasks, &forgery).await;
    }
    // What the standards leave open.
    let several = with(&claims, "aud", json!(["another-service", "identity"]));
    assert!(is_good(&world.tasks, &service.sign(&several)).await);
    let long_type = with(&header, "typ", json!("application/at+jwt"));
    assert!(is_good(&world.tasks, &service.sign_under(&long_type, &claims)).await);
}

async fn a_token_expires_on_the_second(t: Test) {
    let world = World::start(&t, Place::Shared).await;
    let ada = world.person("ada@example.com").await;
    let service = Forger::with_key_of_service(&t).await;
    let claims = claims_of(&ada.access_token);
    let mut expired = claims.clone();
    expired["exp"] = claims["iat"].clone();

    // In the second of its expiry it is not good any more.
    let failure = refusal_of(&world.tasks, &service.sign(&expired)).await;
    assert_eq!(failure.why(), (Code::Unauthenticated, "TOKEN_EXPIRED"));

    ada.create("in time").await.unwrap();
    t.clock.advance(TimeDelta::minutes(5));
    let too_late = ada.create("too late").await.unwrap_err();
    assert_eq!(too_late.why(), (Code::Unauthenticated, "TOKEN_EXPIRED"));
}

async fn unknown_keys_are_asked_for_once_in_a_while(t: Test) {
    let world = World::start(&t, Place::Shared).await;
    let ada = world.person("ada@example.com").await;
    let claims = claims_of(&ada.access_token);
    assert!(ada.titles().await.is_empty());
    assert_eq!(fetches(&world.identity).await, 1.0);
    let tokens: Vec<String> = (0..50)
        .map(|_| Forger::with_key_of_its_own().sign(&claims))
        .collect();

    // The keys were fetched a moment ago.
    join_all(tokens.iter().map(|token| assert_invalid(&world.tasks, token))).await;
    assert_eq!(fetches(&world.identity).await, 1.0);

    t.clock.advance(TimeDelta::seconds(11));
    join_all(tokens.iter().map(|token| assert_invalid(&world.tasks, token))).await;
    assert_eq!(fetches(&world.identity).await, 2.0);
    assert!(ada.titles().await.is_empty());
}

async fn a_new_key_is_fetched_when_it_is_used(t: Test) {
    let world = World::start_with(&t, Place::Shared, &[PROMPT]).await;
    let ada = world.person("ada@example.com").await;
    ada.create("signed with the first key").await.unwrap();
    let (code, _, complaint) = t.run(&[], &["keys", "rotate"]).await;
    assert_eq!(code, 0, "{complaint}");
    // It signs ten minutes after it was published.
    t.clock.advance(TimeDelta::minutes(11));

    let first_kid = kid_of(&ada.access_token);
    let next = eventually("another key signs", async || {
        let tokens = world.identity.sign_in("ada@example.com", PASSWORD).await;
        let token = tokens.expect("the user signs in").access_token;
        (kid_of(&token) != first_kid).then_some(token)
    })
    .await;

    assert!(is_good(&world.tasks, &next).await);
}

async fn a_revoked_key_is_given_up_within_a_minute_of_use(t: Test) {
    let world = World::start_with(&t, Place::Shared, &[PROMPT]).await;
    let ada = world.person("ada@example.com").await;
    ada.create("before").await.unwrap();
    let (code, _, complaint) = t.run(&[], &["keys", "revoke", &kid_of(&ada.access_token)]).await;
    assert_eq!(code, 0, "{complaint}");
    eventually("the revoked key is not published any more", async || {
        let keys = world.identity.signing_keys().await;
        keys.iter().all(|key| key.kid != kid_of(&ada.access_token))
    })
    .await;

    t.clock.advance(TimeDelta::seconds(61));

    // The first call that finds the keys too old has them fetched; it does not wait for that.
    eventually("the revoked key is of no use", async || {
        !is_good(&world.tasks, &ada.access_token).await
    })
    .await;
    assert_invalid(&world.tasks, &ada.access_token).await;
}

async fn without_keys_callers_are_told_to_come_again(t: Test) {
    let identity = t.start().await;
    let (_, tokens) = identity.signed_in("ada@example.com").await;
    let address = identity.grpc_address().to_string();
    let database = Place::Apart.database(&t).await;
    let tasks = Tasks::start(&t, Place::Apart, &database, &identity, None).await;
    identity.shutdown().await;

    for _ in 0..2 {
        let failure = refusal_of(&tasks, &tokens.access_token).await;
        assert_eq!(failure.why(), (Code::Unavailable, "KEYS_UNAVAILABLE"));
        assert!(failure.has_retry);
    }

    let again = t.start_with(&[("IDENTITY_LISTEN", &address)]).await;
    t.clock.advance(TimeDelta::seconds(11));
    eventually("the keys are there", async || {
        t.clock.advance(TimeDelta::seconds(11));
        is_good(&tasks, &tokens.access_token).await
    })
    .await;
    drop(again);
}
