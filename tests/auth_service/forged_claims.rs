//! Access tokens with a good signature and claims that the service would not write, and what it does write.

use std::collections::HashSet;

use chrono::{TimeDelta, Utc};
use futures_util::future::join_all;
use identity::clock::Clock;
use identity::proto::identity::v1::{Client, SignInWithPasswordRequest};
use serde_json::{Value, json};
use uuid::Uuid;

use super::forged_tokens::assert_refused;
use crate::support::{
    Behaviour, Forger, PASSWORD, Test, TestServer, behaviours, claims_of, eventually, new_user,
};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        t05_a_token_expires_on_the_second,
        t05_an_expiry_that_is_no_whole_number_is_refused,
        t06_a_token_from_the_future_is_refused_beyond_five_seconds,
        t06_times_that_are_no_whole_numbers_are_refused,
        t07_tokens_of_other_issuers_and_for_other_audiences_are_refused,
        t07_settings_decide_on_issuer_and_audience,
        every_claim_that_names_somebody_must_be_there,
        a_session_of_one_user_does_not_vouch_for_another,
        claims_must_be_an_object,
        t20_claims_say_who_and_until_when_and_nothing_else,
        t20_token_ids_are_unique,
    ]
}

/// A server with a user who is signed in, and the means to forge.
struct Forgery {
    server: TestServer,
    forger: Forger,
    claims: Value,
}

impl Forgery {
    async fn start(t: &Test) -> Self {
        let server = t.start().await;
        let (_, tokens) = server.signed_in("ada@example.com").await;
        Self {
            forger: Forger::with_key_of_service(t).await,
            claims: claims_of(&tokens.access_token),
            server,
        }
    }

    /// The token, but with another claim.
    fn with(&self, name: &str, value: Value) -> String {
        let mut claims = self.claims.clone();
        claims[name] = value;
        self.forger.sign(&claims)
    }

    fn without(&self, name: &str) -> String {
        let mut claims = self.claims.clone();
        claims.as_object_mut().unwrap().remove(name);
        self.forger.sign(&claims)
    }

    /// The token with a claim written like this, which may be nothing that a number type can hold.
    fn with_text(&self, name: &str, text: &str) -> String {
        let mut claims = self.claims.clone();
        claims[name] = json!("HERE");
        let claims = claims.to_string().replace("\"HERE\"", text);
        self.forger.sign_texts(&self.forger.header().to_string(), &claims)
    }

    /// Says whether tokens are good that have a claim `offset` seconds from now, once the answer is sure: the
    /// second did not end while the server was asked.
    async fn is_good_at(&self, name: &str, offset: i64) -> bool {
        eventually("an answer within one second of the clock", async || {
            let second = self.server.clock.now().timestamp();
            let token = self.with(name, json!(second + offset));
            let is_active = self.server.is_active(&token).await;
            (self.server.clock.now().timestamp() == second).then_some(is_active)
        })
        .await
    }

    async fn assert_refused(&self, token: &str, reason: &str) {
        assert_refused(&self.server, token, reason).await;
    }
}

async fn t05_a_token_expires_on_the_second(t: Test) {
    let forgery = Forgery::start(&t).await;

    for (offset, is_good) in [
        (3600, true),
        (2, true),
        (1, true),
        (0, false),
        (-1, false),
        (-5, false),
        (-59, false),
    ] {
        assert_eq!(forgery.is_good_at("exp", offset).await, is_good, "{offset}");
    }
    let past = Utc::now().timestamp();
    for expired in [
        json!(past - 1),
        json!(1),
        json!(0),
        json!(-1),
        json!(-1_000_000_000),
    ] {
        forgery
            .assert_refused(&forgery.with("exp", expired), "TOKEN_EXPIRED")
            .await;
    }
    // One that the service wrote.
    let tokens = forgery.server.sign_in("ada@example.com", PASSWORD).await.unwrap();
    assert!(forgery.server.is_active(&tokens.access_token).await);
    forgery.server.clock.advance(TimeDelta::seconds(300));
    assert_refused(&forgery.server, &tokens.access_token, "TOKEN_EXPIRED").await;
}

/// Whatever is no whole number of seconds that a date can have.
const NO_TIMES: [&str; 16] = [
    "\"123\"",
    "\"99999999999\"",
    "1e400",
    "-1e400",
    "99999999999.5",
    "1e11",
    "null",
    "true",
    "[]",
    "[99999999999]",
    "{}",
    "\"\"",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "99999999999999999999999999999999",
];

async fn t05_an_expiry_that_is_no_whole_number_is_refused(t: Test) {
    let forgery = Forgery::start(&t).await;

    for text in NO_TIMES {
        let token = forgery.with_text("exp", text);
        forgery.assert_refused(&token, "TOKEN_INVALID").await;
    }
    forgery
        .assert_refused(&forgery.without("exp"), "TOKEN_INVALID")
        .await;
    // The way of writing was not at fault.
    let token = forgery.with_text("exp", "99999999999");
    assert!(forgery.server.is_active(&token).await);
}

async fn t06_a_token_from_the_future_is_refused_beyond_five_seconds(t: Test) {
    let forgery = Forgery::start(&t).await;

    for name in ["iat", "nbf"] {
        for (offset, is_good) in [
            (-3600, true),
            (0, true),
            (4, true),
            (5, true),
            (6, false),
            (7, false),
            (60, false),
            (3600, false),
        ] {
            assert_eq!(forgery.is_good_at(name, offset).await, is_good, "{name} {offset}");
        }
    }
}

async fn t06_times_that_are_no_whole_numbers_are_refused(t: Test) {
    let forgery = Forgery::start(&t).await;

    for name in ["iat", "nbf"] {
        for text in NO_TIMES {
            let token = forgery.with_text(name, text);
            assert!(!forgery.server.is_active(&token).await, "{name} {text}");
        }
    }
    forgery
        .assert_refused(&forgery.without("iat"), "TOKEN_INVALID")
        .await;
}

async fn t07_tokens_of_other_issuers_and_for_other_audiences_are_refused(t: Test) {
    let forgery = Forgery::start(&t).await;

    for issuer in [
        json!("https://evil.example.com"),
        json!("Identity"),
        json!("identity "),
        json!("identity/"),
        json!(""),
        json!(["identity"]),
        json!({ "identity": true }),
        json!(null),
        json!(0),
    ] {
        let token = forgery.with("iss", issuer);
        forgery.assert_refused(&token, "TOKEN_INVALID").await;
    }
    for audience in [
        json!("other"),
        json!("Identity"),
        json!("identity other"),
        json!(""),
        json!([]),
        json!([""]),
        json!(["other"]),
        json!([["identity"]]),
        json!([null, 0, { "identity": "identity" }]),
        json!({ "identity": "identity" }),
        json!(null),
        json!(true),
    ] {
        let token = forgery.with("aud", audience);
        forgery.assert_refused(&token, "TOKEN_INVALID").await;
    }
    for name in ["iss", "aud"] {
        forgery
            .assert_refused(&forgery.without(name), "TOKEN_INVALID")
            .await;
    }
    // A token may be for several (RFC 7519 §4.1.3).
    for audience in [json!(["identity"]), json!(["other", "identity"])] {
        let token = forgery.with("aud", audience);
        assert!(forgery.server.is_active(&token).await, "{token}");
    }
}

async fn t07_settings_decide_on_issuer_and_audience(t: Test) {
    let first = t.start().await;
    let second = t
        .start_with(&[
            ("IDENTITY_TOKEN_ISSUER", "https://id.example.com"),
            ("IDENTITY_TOKEN_AUDIENCE", "https://api.example.com"),
        ])
        .await;
    let (_, old) = first.signed_in("ada@example.com").await;
    let new = second.sign_in("ada@example.com", PASSWORD).await.unwrap();

    let claims = claims_of(&new.access_token);
    assert_eq!(claims["iss"], "https://id.example.com");
    assert_eq!(claims["aud"], "https://api.example.com");
    assert!(second.is_active(&new.access_token).await);
    // They share the key, and yet one is not the other.
    assert_refused(&first, &new.access_token, "TOKEN_INVALID").await;
    assert_refused(&second, &old.access_token, "TOKEN_INVALID").await;
}

async fn every_claim_that_names_somebody_must_be_there(t: Test) {
    let forgery = Forgery::start(&t).await;

    for name in ["sub", "sid", "client_id", "jti"] {
        forgery
            .assert_refused(&forgery.without(name), "TOKEN_INVALID")
            .await;
        for value in [
            json!(null),
            json!(""),
            json!("not an id!"),
            json!(0),
            json!([forgery.claims[name]]),
        ] {
            let token = forgery.with(name, value);
            forgery.assert_refused(&token, "TOKEN_INVALID").await;
        }
    }
    for name in ["sub", "sid"] {
        for nobody in [Uuid::nil(), Uuid::now_v7(), Uuid::max()] {
            let token = forgery.with(name, json!(nobody.to_string()));
            assert!(!forgery.server.is_active(&token).await, "{name} {nobody}");
        }
    }
    // A claim that nobody asked for does no harm.
    let token = forgery.with("scope", json!("openid"));
    assert!(forgery.server.is_active(&token).await);
}

async fn a_session_of_one_user_does_not_vouch_for_another(t: Test) {
    let forgery = Forgery::start(&t).await;
    let (bob, tokens) = forgery.server.signed_in("bob@example.com").await;

    for token in [
        forgery.with("sub", json!(bob.id)),
        forgery.with("sid", json!(tokens.session_id)),
    ] {
        forgery.assert_refused(&token, "SESSION_ENDED").await;
    }
}

async fn claims_must_be_an_object(t: Test) {
    let forgery = Forgery::start(&t).await;
    let header = forgery.forger.header().to_string();
    let claims = forgery.claims.to_string();

    for text in [
        "",
        "{}",
        "[]",
        "null",
        "\"identity\"",
        "{\"iss\":\"identity\"",
        &claims[1..],
        &claims[..claims.len() - 1],
        &format!("[{claims}]"),
        &format!("{claims}{claims}"),
        &format!("{claims},"),
        &format!("\u{feff}{claims}"),
        &format!("{}{}", "[".repeat(2000), "]".repeat(500)),
    ] {
        let token = forgery.forger.sign_texts(&header, text);
        forgery.assert_refused(&token, "TOKEN_INVALID").await;
    }
}

async fn t20_claims_say_who_and_until_when_and_nothing_else(t: Test) {
    for (lifetime, seconds) in [("", 300), ("1s", 1), ("90s", 90), ("24h", 86_400)] {
        let server = t
            .start_with(&[("IDENTITY_ACCESS_TOKEN_LIFETIME", lifetime)])
            .await;
        let zoe = new_user()
            .email(&format!("zoe{seconds}@example.com"))
            .username(&format!("\\corp\\zoe{seconds}"))
            .full_name("Zoe Lovelace")
            .password(PASSWORD);
        let user = server.create(zoe).await.unwrap();
        let request = SignInWithPasswordRequest {
            identifier: user.email.clone(),
            password: PASSWORD.to_owned(),
            client: Some(Client {
                client_id: "mobile-app".to_owned(),
                user_agent: "Browser/1.0".to_owned(),
                ip_address: "192.0.2.7".to_owned(),
            }),
        };
        let before = server.clock.now().timestamp();
        let response = server.auth().sign_in_with_password(request).await.unwrap();
        let after = server.clock.now().timestamp();
        let tokens = response.into_inner().tokens.unwrap();

        let claims = claims_of(&tokens.access_token);
        let mut names: Vec<&String> = claims.as_object().unwrap().keys().collect();
        names.sort();
        assert_eq!(
            names,
            ["aud", "client_id", "exp", "iat", "iss", "jti", "sid", "sub"]
        );
        let (issued, expires) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
        assert_eq!(expires - issued, seconds);
        assert!((before..=after).contains(&issued));
        let told = tokens.access_token_expire_time.unwrap();
        assert_eq!((told.seconds, told.nanos), (expires, 0));
        assert_eq!(claims["sub"], user.id);
        assert_eq!(claims["sid"], tokens.session_id);
        assert_eq!(claims["client_id"], "mobile-app");
        assert_eq!(claims["iss"], "identity");
        assert_eq!(claims["aud"], "identity");
        let text = claims.to_string();
        // Nothing that could be a part of a UUID by chance.
        for private in ["zoe", "Lovelace", "example.com", "corp", "192.0.2.7", "Browser"] {
            assert!(!text.contains(private), "{private} in {text}");
        }
    }
}

async fn t20_token_ids_are_unique(t: Test) {
    /// Enough for the birthday paradox to find an id of up to 18 random bits.
    const TOKENS: usize = 600;
    const AT_ONCE: usize = 20;
    let first = t.start().await;
    let second = t.start().await;
    let mut refresh_tokens = Vec::new();
    let mut ids = HashSet::new();
    for number in 0..AT_ONCE {
        let (_, tokens) = first.signed_in(&format!("user{number}@example.com")).await;
        ids.insert(claims_of(&tokens.access_token)["jti"].to_string());
        refresh_tokens.push(tokens.refresh_token);
    }

    while ids.len() < TOKENS {
        let servers = [&first, &second].into_iter().cycle();
        let rounds = servers
            .zip(&refresh_tokens)
            .map(|(server, token)| server.refresh(token));
        let refreshed: Vec<_> = join_all(rounds).await.into_iter().map(Result::unwrap).collect();
        for tokens in &refreshed {
            let id = claims_of(&tokens.access_token)["jti"]
                .as_str()
                .unwrap()
                .to_owned();
            assert_eq!(Uuid::try_parse(&id).unwrap().get_version_num(), 7);
            assert!(ids.insert(id.clone()), "{id} twice");
        }
        refresh_tokens = refreshed.into_iter().map(|tokens| tokens.refresh_token).collect();
    }
}
