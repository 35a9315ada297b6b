//! The RAG administration tool: the table and the repository of refresh tokens.

use std::net::IpAddr;

use chrono::{DateTime, TimeDelta, Utc};
use identity::clock::{Clock, SystemClock};
use identity::domain::{
    Client, ClientId, NewRefreshToken, RefreshToken, RefreshedSession, Refusal, Rotation, Session,
    SessionPolicy, SignInMethod, User, UserAgent, UserId,
};
use identity::proto::identity::v1::{
    Client as ProtoClient, GetSessionRequest, ListSessionsRequest, SignInWithPasswordRequest,
};
use identity::repositories::{RefreshTokenRepository, SessionRepository, UserRepository};
use prost::Message;
use ring::digest::{SHA256, digest};

use super::rag::CONFIGURATION;
use super::repository::{database, new_named, operator, refusal, without_request_id};
use super::{columns, count, index_names};
use crate::support::{Backend, Behaviour, PASSWORD, Test, TestServer, behaviours};

pub fn tests() -> Vec<Behaviour> {
    behaviours![
        rag_03_a_refresh_token_has_the_columns_and_indexes_of_the_model,
        rag_03_a_refresh_token_belongs_to_a_user_and_is_unique,
        rag_04_a_token_is_valid_until_it_is_used_revoked_or_expires,
        rag_07_rag_09_a_token_is_found_by_its_hash_and_only_by_that,
        rag_07_rag_09_one_token_is_revoked,
        rag_07_rag_09_all_tokens_of_a_user_are_revoked_and_counted,
        rag_07_rag_09_expired_tokens_are_deleted_after_seven_days,
        rag_07_any_number_of_expired_tokens_is_deleted,
        rag_12_refresh_tokens_are_stored_as_hashes_only,
    ]
}

const POLICY: SessionPolicy = SessionPolicy {
    lifetime: TimeDelta::days(30),
    idle_lifetime: TimeDelta::days(14),
    max_per_user: 100,
};

/// The repositories of a database that is migrated and has one user.
struct Fixture {
    tokens: RefreshTokenRepository,
    sessions: SessionRepository,
    users: UserRepository,
    ada: User,
    now: DateTime<Utc>,
}

impl Fixture {
    async fn of(t: &Test) -> Self {
        let database = database(t, CONFIGURATION);
        database.migrate_up(&SystemClock).await.unwrap();
        let users = UserRepository::new(database.clone());
        Self {
            tokens: RefreshTokenRepository::new(database.clone()),
            sessions: SessionRepository::new(database),
            ada: users.create(new_named("ada@example.com")).await.unwrap(),
            users,
            now: SystemClock.now(),
        }
    }

    /// Stores a token of a new session, with a hash that consists of one byte.
    async fn create(&self, user: &User, byte: u8, created_at: DateTime<Utc>) -> Session {
        let session = Session::begin(user.id, SignInMethod::Password, client(), POLICY, created_at);
        let token = NewRefreshToken {
            session: session.clone(),
            token_hash: [byte; 32],
            client: client(),
            created_at,
        };
        self.tokens.create(token).await.unwrap();
        session
    }

    async fn get(&self, byte: u8) -> Option<RefreshToken> {
        self.tokens.get_by_token_hash([byte; 32]).await.unwrap()
    }

    async fn is_valid(&self, byte: u8, now: DateTime<Utc>) -> bool {
        let found = self.tokens.get_valid_by_token_hash([byte; 32], now).await;
        found.unwrap().is_some()
    }
}

fn client() -> Client {
    Client {
        ip_address: Some(IpAddr::from([192, 0, 2, 7])),
        user_agent: Some(UserAgent::parse("Browser/1.0").unwrap()),
        client_id: ClientId::default(),
    }
}

const TICK: TimeDelta = TimeDelta::microseconds(1);

async fn rag_03_a_refresh_token_has_the_columns_and_indexes_of_the_model(t: Test) {
    Fixture::of(&t).await;

    let columns = columns(&t, "refresh_tokens").await;

    let (id, bytes, time, address) = match t.backend {
        Backend::Postgres => ("uuid", "bytea", "timestamptz", "inet"),
        Backend::Sqlite => ("blob", "blob", "integer", "text"),
    };
    for column in [
        format!("user_id {id} NO"),
        format!("token_hash {bytes} NO"),
        format!("expires_at {time} NO"),
        format!("created_at {time} NO"),
        format!("revoked_at {time} YES"),
        "user_agent text YES".to_owned(),
        format!("ip_address {address} YES"),
    ] {
        assert!(columns.contains(&column), "{column} in {columns:?}");
    }
    let indexes = index_names(&t, "refresh_tokens").await;
    for index in ["refresh_tokens_token_hash_key", "refresh_tokens_expires_at_idx"] {
        assert!(indexes.contains(&index.to_owned()), "{index} in {indexes:?}");
    }
}

async fn rag_03_a_refresh_token_belongs_to_a_user_and_is_unique(t: Test) {
    let server = t.start_with(CONFIGURATION).await;
    let ada = server.create_with_password("ada@example.com").await;
    let (_, others) = server.signed_in("grace@example.com").await;
    sign_in_from_a_browser(&server, "ada@example.com").await;
    let of_ada =
        "FROM refresh_tokens WHERE user_id IN (SELECT id FROM users WHERE email = 'ada@example.com')";
    let address = match t.backend {
        Backend::Postgres => "host(ip_address)",
        Backend::Sqlite => "ip_address",
    };

    let stored = t
        .sql_value(&format!(
            "SELECT {address} || ' ' || user_agent AS value {of_ada}"
        ))
        .await;

    assert_eq!(stored.as_deref(), Some("2001:db8::1 Browser/1.0"));
    let (new_id, constraint) = match t.backend {
        Backend::Postgres => ("gen_random_uuid()", "refresh_tokens_token_hash_key"),
        Backend::Sqlite => ("randomblob(16)", "refresh_tokens.token_hash"),
    };
    let copy = format!(
        "INSERT INTO refresh_tokens (id, session_id, user_id, generation, token_hash, expires_at, used_at)
         SELECT {new_id}, session_id, user_id, 99, token_hash, expires_at, created_at {of_ada}"
    );
    let error = t.sql(&copy).await.unwrap_err();
    assert!(error.contains(constraint), "{error}");

    super::calls::delete(&server, &ada.id).await;

    assert_eq!(count(&t, "refresh_tokens").await, "1");
    assert_eq!(count(&t, "sessions").await, "1");
    server.refresh(&others.refresh_token).await.unwrap();
}

async fn sign_in_from_a_browser(server: &TestServer, email: &str) -> String {
    let request = SignInWithPasswordRequest {
        identifier: email.to_owned(),
        password: PASSWORD.to_owned(),
        client: Some(ProtoClient {
            ip_address: "2001:DB8:0::1".to_owned(),
            user_agent: "Browser/1.0".to_owned(),
            ..ProtoClient::default()
        }),
    };
    let response = server.auth().sign_in_with_password(request).await.unwrap();
    response.into_inner().tokens.unwrap().refresh_token
}

async fn rag_04_a_token_is_valid_until_it_is_used_revoked_or_expires(t: Test) {
    let fixture = Fixture::of(&t).await;
    let now = fixture.now;
    let session = fixture.create(&fixture.ada, 1, now).await;
    fixture.create(&fixture.ada, 3, now).await;

    let fresh = fixture.get(1).await.unwrap();
    assert_eq!(fresh.expires_at, now + POLICY.idle_lifetime);
    assert!(fresh.is_valid(now) && fresh.is_valid(fresh.expires_at - TICK));
    assert!(!fresh.is_valid(fresh.expires_at) && !fresh.is_valid(fresh.expires_at + TICK));

    let rotation = Rotation {
        session_id: session.id,
        generation: 1,
        token_hash: [1; 32],
        next_token_hash: [2; 32],
        client: client(),
        policy: POLICY,
        now,
    };
    let outcome = fixture
        .sessions
        .refresh(without_request_id(rotation))
        .await
        .unwrap();
    assert!(matches!(outcome, RefreshedSession::Refreshed(_)), "{outcome:?}");
    let used = fixture.get(1).await.unwrap();
    assert_eq!((used.used_at, used.revoked_at), (Some(now), None));
    assert!(!used.is_valid(now) && fixture.get(2).await.unwrap().is_valid(now));

    fixture.tokens.revoke([3; 32], now, operator()).await.unwrap();
    let revoked = fixture.get(3).await.unwrap();
    assert_eq!((revoked.used_at, revoked.revoked_at), (None, Some(now)));
    assert!(!revoked.is_valid(now));
}

async fn rag_07_rag_09_a_token_is_found_by_its_hash_and_only_by_that(t: Test) {
    let fixture = Fixture::of(&t).await;
    let now = fixture.now;
    let session = fixture.create(&fixture.ada, 1, now).await;

    let found = fixture.get(1).await.unwrap();

    let expected = RefreshToken {
        id: found.id,
        session_id: session.id,
        user_id: fixture.ada.id,
        generation: 1,
        token_hash: [1; 32],
        expires_at: session.idle_expires_at,
        used_at: None,
        revoked_at: None,
        user_agent: client().user_agent,
        ip_address: client().ip_address,
        created_at: now,
    };
    assert_eq!(found, expected);
    let valid = fixture.tokens.get_valid_by_token_hash([1; 32], now).await;
    assert_eq!(valid.unwrap(), Some(expected));
    assert_eq!(fixture.get(2).await, None);
    assert!(!fixture.is_valid(2, now).await);
    // Expired: found, but not among the valid ones.
    assert!(!fixture.is_valid(1, session.idle_expires_at).await);
    assert!(fixture.get(1).await.is_some());
}

async fn rag_07_rag_09_one_token_is_revoked(t: Test) {
    let fixture = Fixture::of(&t).await;
    let now = fixture.now;
    let session = fixture.create(&fixture.ada, 1, now).await;
    fixture.create(&fixture.ada, 2, now).await;
    fixture.create(&fixture.ada, 3, now - POLICY.idle_lifetime).await;

    let was_valid = |byte| fixture.tokens.revoke([byte; 32], now, operator());

    assert!(was_valid(1).await.unwrap());
    assert!(!was_valid(1).await.unwrap(), "it has been revoked already");
    assert!(!was_valid(3).await.unwrap(), "it has expired");
    assert!(!was_valid(4).await.unwrap(), "there is none");
    assert!(!fixture.is_valid(1, now).await && fixture.is_valid(2, now).await);
    // Access tokens of its session are dead as well.
    let ended = fixture.sessions.get(session.id).await.unwrap();
    assert!(!ended.is_live(now), "{ended:?}");
}

async fn rag_07_rag_09_all_tokens_of_a_user_are_revoked_and_counted(t: Test) {
    let fixture = Fixture::of(&t).await;
    let now = fixture.now;
    let grace = fixture
        .users
        .create(new_named("grace@example.com"))
        .await
        .unwrap();
    for byte in 1..=4 {
        fixture.create(&fixture.ada, byte, now).await;
    }
    fixture.create(&fixture.ada, 5, now - POLICY.idle_lifetime).await;
    fixture.create(&grace, 6, now).await;
    fixture.tokens.revoke([4; 32], now, operator()).await.unwrap();

    let revoked = fixture
        .tokens
        .revoke_all_for_user(fixture.ada.id, now, operator())
        .await;

    assert_eq!(revoked.unwrap(), 3, "neither the revoked nor the expired one");
    for byte in 1..=5 {
        assert!(!fixture.is_valid(byte, now).await, "{byte}");
    }
    assert!(fixture.is_valid(6, now).await);
    let again = fixture
        .tokens
        .revoke_all_for_user(fixture.ada.id, now, operator())
        .await;
    assert_eq!(again.unwrap(), 0);
    let unknown = UserId::generate(now);
    let error = fixture
        .tokens
        .revoke_all_for_user(unknown, now, operator())
        .await
        .unwrap_err();
    assert_eq!(refusal(&error), Some(Refusal::UserNotFound(unknown)));
}

async fn rag_07_rag_09_expired_tokens_are_deleted_after_seven_days(t: Test) {
    assert_eq!(RefreshTokenRepository::KEPT_DAYS, 7);
    let fixture = Fixture::of(&t).await;
    let now = fixture.now;
    let expiring = |days: i64| now - POLICY.idle_lifetime - TimeDelta::days(days);
    for (byte, created_at) in [
        (1, expiring(9)),
        (2, expiring(7) - TICK),
        (3, expiring(7)),
        (4, expiring(1)),
        (5, now),
    ] {
        fixture.create(&fixture.ada, byte, created_at).await;
    }
    // Revoked or not: only the time counts.
    fixture.tokens.revoke([5; 32], now, operator()).await.unwrap();
    let delete = |days| fixture.tokens.delete_expired(days, now);

    assert_eq!(delete(8).await.unwrap(), 1);
    assert_eq!(delete(RefreshTokenRepository::KEPT_DAYS).await.unwrap(), 1);

    for (byte, is_there) in [(1, false), (2, false), (3, true), (4, true), (5, true)] {
        assert_eq!(fixture.get(byte).await.is_some(), is_there, "{byte}");
    }
    assert_eq!(delete(0).await.unwrap(), 2);
    assert_eq!(delete(0).await.unwrap(), 0);
    assert!(fixture.get(5).await.is_some());
}

/// They are deleted in batches, of which this takes several, the last one full.
async fn rag_07_any_number_of_expired_tokens_is_deleted(t: Test) {
    const EXPIRED: usize = 1500;
    let fixture = Fixture::of(&t).await;
    let now = fixture.now;
    fixture.create(&fixture.ada, 1, now).await;
    // Used ones of a session that goes on.
    let numbers = match t.backend {
        Backend::Postgres => format!(
            "SELECT gen_random_uuid(), session_id, user_id, n, sha256(n::text::bytea), expires_at - interval '30 days',
                    created_at FROM refresh_tokens, generate_series(2, {EXPIRED} + 1) AS n"
        ),
        Backend::Sqlite => format!(
            "WITH RECURSIVE numbers(n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM numbers WHERE n <= {EXPIRED})
             SELECT randomblob(16), session_id, user_id, n, randomblob(32), expires_at - 30 * 86400 * 1000000,
                    created_at FROM refresh_tokens, numbers"
        ),
    };
    let columns = "id, session_id, user_id, generation, token_hash, expires_at, used_at";
    t.sql(&format!("INSERT INTO refresh_tokens ({columns}) {numbers}"))
        .await
        .unwrap();

    let deleted = fixture.tokens.delete_expired(7, now).await;

    assert_eq!(deleted.unwrap(), EXPIRED);
    assert_eq!(count(&t, "refresh_tokens").await, "1");
    assert!(fixture.is_valid(1, now).await);
}

async fn rag_12_refresh_tokens_are_stored_as_hashes_only(t: Test) {
    let server = t.start_with(CONFIGURATION).await;
    let (ada, first) = server.signed_in("ada@example.com").await;
    let second = server.refresh(&first.refresh_token).await.unwrap();
    let hashes = match t.backend {
        Backend::Postgres => {
            "SELECT encode(token_hash, 'hex') AS value FROM refresh_tokens ORDER BY generation"
        }
        Backend::Sqlite => {
            "SELECT lower(hex(token_hash)) AS value FROM refresh_tokens ORDER BY generation"
        }
    };

    let stored: Vec<String> = t.sql_values(hashes).await.into_iter().flatten().collect();

    let expected = [&first.refresh_token, &second.refresh_token].map(|token| hash_of(token));
    assert_eq!(stored, expected);
    // Shown once: nothing that can be asked for has a token, or what it could be made of.
    let list = ListSessionsRequest {
        user_id: ada.id,
        include_ended: true,
        ..ListSessionsRequest::default()
    };
    let listed = server.sessions().list_sessions(list).await.unwrap().into_inner();
    assert_eq!(listed.sessions.len(), 1);
    let session_id = second.session_id.clone();
    let get = GetSessionRequest { session_id };
    let got = server.sessions().get_session(get).await.unwrap().into_inner();
    for bytes in [listed.encode_to_vec(), got.encode_to_vec()] {
        let text = String::from_utf8_lossy(&bytes);
        for secret in ["idr_", "eyJ", &expected[0], &expected[1]] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
        for token in [&first, &second] {
            let digest = digest(&SHA256, token.refresh_token.as_bytes());
            assert!(!bytes.windows(32).any(|window| window == digest.as_ref()));
        }
    }
}

fn hash_of(token: &str) -> String {
    let digest = digest(&SHA256, token.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
