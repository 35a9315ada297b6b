//! The one statement that exchanges a refresh token on PostgreSQL: it does so only where the rule would, alone as well as
//! with others, and waits for nobody.

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use identity::clock::{Clock, SystemClock};
use identity::domain::{
    AuthProvider, Client, ClientId, NewRefreshToken, Refresh, Rotation, Session, SessionEndReason,
    SessionPolicy, SignInMethod, User, UserAgent,
};
use identity::repositories::{RefreshTokenRepository, SessionRepository, UserRepository};

use crate::faults::blocker::Blocker;
use crate::session_service::calls::count;
use crate::support::{Behaviour, Test, eventually, postgres_only};
use crate::systems::repository::{database, new_named};

pub fn tests() -> Vec<Behaviour> {
    postgres_only![
        it_exchanges_what_the_rule_would,
        whatever_is_wrong_nothing_is_changed,
        the_successor_is_stored_as_it_was_presented,
        what_somebody_else_holds_is_passed_over,
        whoever_holds_the_user_holds_up_nobody,
        of_those_that_exchange_one_token_one_does,
    ]
}

const POLICY: SessionPolicy = SessionPolicy {
    lifetime: TimeDelta::days(30),
    idle_lifetime: TimeDelta::days(14),
    max_per_user: 1000,
};

/// The smallest step of time that is stored.
const MOMENT: TimeDelta = TimeDelta::microseconds(1);

/// The repositories of a database that is migrated and has a user.
struct Fixture {
    sessions: SessionRepository,
    tokens: RefreshTokenRepository,
    users: UserRepository,
    now: DateTime<Utc>,
}

impl Fixture {
    async fn of(t: &Test) -> Self {
        let database = database(t, &[]);
        database.migrate_up(&SystemClock).await.unwrap();
        Self {
            sessions: SessionRepository::new(database.clone()),
            tokens: RefreshTokenRepository::new(database.clone()),
            users: UserRepository::new(database),
            now: SystemClock.now(),
        }
    }

    async fn create_user(&self, name: &str) -> User {
        let email = format!("{name}@example.com");
        self.users.create(new_named(&email)).await.unwrap()
    }

    /// Makes a session that is not stored yet, with two exchanges behind it.
    fn session_of(&self, user: &User) -> Session {
        let mut session = Session::begin(user.id, SignInMethod::Password, client(), POLICY, self.now);
        session.generation = 3;
        session
    }

    /// Stores a session with its live token, and returns the exchange of that.
    async fn store(&self, session: &Session) -> Rotation {
        let token_hash = hash(session, session.generation);
        let token = NewRefreshToken {
            session: session.clone(),
            token_hash,
            client: client(),
            created_at: self.now,
        };
        self.tokens.create(token).await.unwrap();
        Rotation {
            session_id: session.id,
            generation: session.generation,
            token_hash,
            next_token_hash: hash(session, session.generation + 1),
            client: client(),
            policy: POLICY,
            now: self.now,
        }
    }

    async fn rotate(&self, rotation: &Rotation) -> Option<Session> {
        self.sessions.rotate(rotation).await.expect("no error")
    }

    /// Makes exchanges one after the other, or all at the same moment: the first go alone then, and the others together.
    async fn rotate_each(&self, rotations: &[Rotation], at_once: bool) -> Vec<Option<Session>> {
        if at_once {
            return join_all(rotations.iter().map(|one| self.rotate(one))).await;
        }
        let mut rotated = Vec::new();
        for rotation in rotations {
            rotated.push(self.rotate(rotation).await);
        }
        rotated
    }
}

fn client() -> Client {
    Client {
        ip_address: None,
        user_agent: None,
        client_id: ClientId::default(),
    }
}

/// A digest that no other token has.
fn hash(session: &Session, generation: i64) -> [u8; 32] {
    let mut hash = [0; 32];
    hash[..16].copy_from_slice(session.id.uuid().as_bytes());
    hash[16..24].copy_from_slice(&generation.to_be_bytes());
    hash
}

fn in_sql(hash: [u8; 32]) -> String {
    let digits: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("'\\x{digits}'")
}

/// Tells how many tokens there are with the digest of the next one.
async fn issued(t: &Test, rotation: &Rotation) -> i64 {
    let hash = in_sql(rotation.next_token_hash);
    count(t, &format!("refresh_tokens WHERE token_hash = {hash}")).await
}

async fn it_exchanges_what_the_rule_would(t: Test) {
    let fixture = Fixture::of(&t).await;
    let user = fixture.create_user("ada").await;
    let mut exchanges = Vec::new();
    for at_once in [false, true] {
        let (mut sessions, mut rotations) = (Vec::new(), Vec::new());
        let before_long = fixture.now + TimeDelta::hours(1);
        for idle_end in [before_long, before_long + POLICY.lifetime] {
            for end in [before_long, before_long + POLICY.lifetime] {
                for at in [before_long - MOMENT, before_long, before_long + MOMENT] {
                    for generation in 2..=4 {
                        for ended in [None, Some((fixture.now, SessionEndReason::SignedOut))] {
                            let mut session = fixture.session_of(&user);
                            session.provider = Some(AuthProvider::Oidc);
                            session.idle_expires_at = idle_end.min(end);
                            session.expires_at = end;
                            session.ended = ended;
                            let mut rotation = fixture.store(&session).await;
                            rotation.generation = generation;
                            rotation.now = at;
                            sessions.push(session);
                            rotations.push(rotation);
                        }
                    }
                }
            }
        }

        let outcomes = fixture.rotate_each(&rotations, at_once).await;

        for ((session, rotation), outcome) in sessions.into_iter().zip(&rotations).zip(outcomes) {
            let is_due = session.refresh(rotation.generation, rotation.now) == Refresh::Rotate;
            let case = format!("{session:?} {rotation:?}");
            let expected = is_due.then(|| session.rotated(POLICY, rotation.now));
            assert_eq!(outcome, expected, "{case}");
            assert_eq!(issued(&t, rotation).await, i64::from(is_due), "{case}");
            if let Some(rotated) = outcome {
                assert_eq!(fixture.sessions.get(rotated.id).await.unwrap(), rotated);
                exchanges.push(rotated);
            }
        }
    }
    // Of either half: before the one end or the other, with the token that is live.
    assert_eq!(exchanges.len(), 12);
    assert!(exchanges.iter().any(|one| one.idle_expires_at == one.expires_at));
    assert!(exchanges.iter().any(|one| one.idle_expires_at < one.expires_at));
}

async fn whatever_is_wrong_nothing_is_changed(t: Test) {
    let fixture = Fixture::of(&t).await;
    let changes = [
        "UPDATE users SET is_blocked = true WHERE id = {user}",
        "UPDATE users SET is_active = false WHERE id = {user}",
        "UPDATE sessions SET client_id = 'another' WHERE id = {session}",
        "UPDATE sessions SET revoked_at = now(), revoke_reason = 'revoked' WHERE id = {session}",
        "UPDATE sessions SET generation = generation + 1 WHERE id = {session}",
        "UPDATE refresh_tokens SET used_at = now() WHERE token_hash = {token}",
        "UPDATE refresh_tokens SET revoked_at = now() WHERE token_hash = {token}",
        "UPDATE refresh_tokens SET generation = 99, (session_id, user_id) = (
             SELECT id, user_id FROM sessions WHERE id = {other_session}
         ) WHERE token_hash = {token}",
        "DELETE FROM refresh_tokens WHERE token_hash = {token}",
        "DELETE FROM sessions WHERE id = {session}",
        "DELETE FROM users WHERE id = {user}",
    ];
    let another = fixture.create_user("grace").await;
    for at_once in [false, true] {
        let other_session = fixture.session_of(&another);
        fixture.store(&other_session).await;
        let mut rotations = Vec::new();
        for (number, change) in changes.iter().enumerate() {
            let user = fixture.create_user(&format!("ada{number}{at_once}")).await;
            let session = fixture.session_of(&user);
            let rotation = fixture.store(&session).await;
            let change = change
                .replace("{user}", &format!("'{}'", user.id))
                .replace("{session}", &format!("'{}'", session.id))
                .replace("{other_session}", &format!("'{}'", other_session.id))
                .replace("{token}", &in_sql(rotation.token_hash));
            t.sql(&change).await.unwrap();
            rotations.push(rotation);
        }
        let everything =
            "SELECT md5(coalesce(string_agg(s::text || t::text, ' ' ORDER BY s.id, t.id), '')) AS value
                          FROM sessions AS s LEFT JOIN refresh_tokens AS t ON t.session_id = s.id";
        let before = t.sql_value(everything).await;

        let outcomes = fixture.rotate_each(&rotations, at_once).await;

        for (change, outcome) in changes.iter().zip(outcomes) {
            assert_eq!(outcome, None, "{change}");
        }
        assert_eq!(t.sql_value(everything).await, before);

        // What is wrong with some does not keep the others from it.
        let good = fixture.store(&fixture.session_of(&another)).await;
        rotations.push(good);
        let rotated = fixture.rotate_each(&rotations, at_once).await;
        assert_eq!(rotated.iter().filter(|one| one.is_some()).count(), 1);
        assert!(rotated.last().is_some_and(Option::is_some));
    }
}

async fn the_successor_is_stored_as_it_was_presented(t: Test) {
    let fixture = Fixture::of(&t).await;
    let user = fixture.create_user("ada").await;
    for at_once in [false, true] {
        let mut rotations = Vec::new();
        for number in 0..20 {
            let session = fixture.session_of(&user);
            let mut rotation = fixture.store(&session).await;
            if number % 2 == 0 {
                rotation.client.ip_address = Some(format!("2001:db8::{number}").parse().unwrap());
            }
            if number % 3 == 0 {
                rotation.client.user_agent = Some(UserAgent::parse(&format!("ada's {number}")).unwrap());
            }
            rotation.now = fixture.now + TimeDelta::seconds(number);
            rotations.push(rotation);
        }

        let rotated = fixture.rotate_each(&rotations, at_once).await;

        for (rotation, session) in rotations.iter().zip(rotated) {
            let session = session.expect("an exchange");
            // It is still that of the sign-in.
            assert_eq!(session.client, client());
            let next = fixture.tokens.get_by_token_hash(rotation.next_token_hash).await;
            let next = next.unwrap().expect("the successor");
            assert_eq!((next.session_id, next.user_id), (session.id, user.id));
            assert_eq!((next.generation, next.created_at), (4, rotation.now));
            assert_eq!(next.expires_at, session.idle_expires_at);
            assert_eq!(next.user_agent, rotation.client.user_agent);
            assert_eq!(next.ip_address, rotation.client.ip_address);
            assert_eq!((next.used_at, next.revoked_at), (None, None));
            let used = fixture.tokens.get_by_token_hash(rotation.token_hash).await;
            assert_eq!(used.unwrap().expect("the token").used_at, Some(rotation.now));
        }
    }
}

async fn what_somebody_else_holds_is_passed_over(t: Test) {
    let fixture = Fixture::of(&t).await;
    let user = fixture.create_user("ada").await;
    for table in ["sessions", "refresh_tokens"] {
        let mut rotations = Vec::new();
        for _ in 0..10 {
            rotations.push(fixture.store(&fixture.session_of(&user)).await);
        }
        let rows = format!("SELECT 1 FROM {table} FOR UPDATE");
        let blocker = Blocker::holding(&t.database_url(), &rows).await;

        for at_once in [false, true] {
            tokio::select! {
                outcomes = fixture.rotate_each(&rotations, at_once) => {
                    assert!(outcomes.iter().all(Option::is_none), "{table}");
                }
                () = eventually("it waits", async || {
                    let waiting = "pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
                    count(&t, waiting).await > 0
                }) => panic!("it waits for {table}"),
            }
        }

        blocker.release().await;
        for rotation in &rotations {
            assert_eq!(issued(&t, rotation).await, 0, "{table}");
            assert!(fixture.rotate(rotation).await.is_some(), "{table}");
        }
    }
}

/// The session is what keeps an exchange from happening beside the end of the user.
async fn whoever_holds_the_user_holds_up_nobody(t: Test) {
    let fixture = Fixture::of(&t).await;
    let user = fixture.create_user("ada").await;
    let mut rotations = Vec::new();
    for _ in 0..10 {
        rotations.push(fixture.store(&fixture.session_of(&user)).await);
    }
    let blocker = Blocker::holding(&t.database_url(), "SELECT 1 FROM users FOR UPDATE").await;

    let (alone, together) = rotations.split_at(2);
    for (some, at_once) in [(alone, false), (together, true)] {
        let rotated = fixture.rotate_each(some, at_once).await;
        assert!(rotated.iter().all(Option::is_some), "{at_once}");
    }

    blocker.release().await;
}

/// Also if they go together.
async fn of_those_that_exchange_one_token_one_does(t: Test) {
    const CALLS: usize = 50;
    let fixture = Fixture::of(&t).await;
    let user = fixture.create_user("ada").await;
    let rotation = fixture.store(&fixture.session_of(&user)).await;

    let outcomes = fixture.rotate_each(&vec![rotation.clone(); CALLS], true).await;

    assert_eq!(outcomes.iter().filter(|one| one.is_some()).count(), 1);
    assert_eq!(issued(&t, &rotation).await, 1);
}
