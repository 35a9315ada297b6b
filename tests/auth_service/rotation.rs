//! The one statement that exchanges a refresh token on PostgreSQL: it does so only if everything is still as it was when
//! the exchange was decided on, and waits for nobody.

use chrono::TimeDelta;
use identity::clock::{Clock, SystemClock};
use identity::domain::{
    Client, ClientId, NewRefreshToken, Rotation, Session, SessionPolicy, SignInMethod, User,
};
use identity::repositories::{RefreshTokenRepository, SessionRepository, UserRepository};

use crate::faults::blocker::Blocker;
use crate::session_service::calls::count;
use crate::support::{Behaviour, Test, eventually, postgres_only};
use crate::systems::repository::{database, new_named};

pub fn tests() -> Vec<Behaviour> {
    postgres_only![
        nothing_is_exchanged_if_anything_has_changed_since,
        what_somebody_else_holds_is_passed_over,
        of_those_that_exchange_one_token_one_does,
    ]
}

const POLICY: SessionPolicy = SessionPolicy {
    lifetime: TimeDelta::days(30),
    idle_lifetime: TimeDelta::days(14),
    max_per_user: 100,
};

/// The repositories of a database that is migrated and has two users.
struct Fixture {
    sessions: SessionRepository,
    tokens: RefreshTokenRepository,
    users: UserRepository,
    ada: User,
}

impl Fixture {
    async fn of(t: &Test) -> Self {
        let database = database(t, &[]);
        database.migrate_up(&SystemClock).await.unwrap();
        let users = UserRepository::new(database.clone());
        users.create(new_named("grace@example.com")).await.unwrap();
        Self {
            sessions: SessionRepository::new(database.clone()),
            tokens: RefreshTokenRepository::new(database),
            ada: users.create(new_named("ada@example.com")).await.unwrap(),
            users,
        }
    }

    /// Begins a session, and decides on the exchange of its token. The digest of the token consists of one byte, and that
    /// of the next one of the byte after it.
    async fn decide(&self, byte: u8) -> Rotation {
        let now = SystemClock.now();
        let client = Client {
            ip_address: None,
            user_agent: None,
            client_id: ClientId::default(),
        };
        let session = Session::begin(self.ada.id, SignInMethod::Password, client.clone(), POLICY, now);
        let token = |of: &Session, digest| NewRefreshToken {
            session: of.clone(),
            token_hash: [digest; 32],
            client: client.clone(),
            created_at: now,
        };
        self.tokens.create(token(&session, byte)).await.unwrap();
        let user = self.users.get_by_id(self.ada.id).await.unwrap();
        Rotation {
            token_hash: [byte; 32],
            generation: session.generation,
            user_version: user.version,
            next: token(&session.clone().rotated(POLICY, now), byte + 1),
        }
    }
}

/// Tells how many tokens there are with the digest of the next one.
async fn issued(t: &Test, rotation: &Rotation) -> i64 {
    let hash = hash_in_sql(rotation.next.token_hash);
    count(t, &format!("refresh_tokens WHERE token_hash = {hash}")).await
}

fn hash_in_sql(hash: [u8; 32]) -> String {
    format!("'\\x{}'", format!("{:02x}", hash[0]).repeat(32))
}

async fn nothing_is_exchanged_if_anything_has_changed_since(t: Test) {
    let fixture = Fixture::of(&t).await;
    let of_user = "UPDATE users SET full_name = 'Ada ' || version WHERE id = {user}";
    let of_another_user =
        "UPDATE sessions SET user_id = (SELECT id FROM users WHERE id <> {user}) WHERE id = {session}";
    let ended = "UPDATE sessions SET revoked_at = now(), revoke_reason = 'revoked' WHERE id = {session}";
    let exchanged = "UPDATE sessions SET generation = generation + 1 WHERE id = {session}";
    let used = "UPDATE refresh_tokens SET used_at = now() WHERE token_hash = {token}";
    let revoked = "UPDATE refresh_tokens SET revoked_at = now() WHERE token_hash = {token}";
    let of_another_session = "UPDATE refresh_tokens SET generation = 99, session_id =
                              (SELECT id FROM sessions WHERE id <> {session} LIMIT 1) WHERE token_hash = {token}";
    let removed = "DELETE FROM refresh_tokens WHERE token_hash = {token}";
    fixture.decide(200).await;

    for (number, change) in [
        of_user,
        of_another_user,
        ended,
        exchanged,
        used,
        revoked,
        of_another_session,
        removed,
    ]
    .into_iter()
    .enumerate()
    {
        let rotation = fixture.decide(u8::try_from(number * 2).unwrap()).await;
        let session = &rotation.next.session;
        let change = change
            .replace("{user}", &format!("'{}'", session.user_id))
            .replace("{session}", &format!("'{}'", session.id))
            .replace("{token}", &hash_in_sql(rotation.token_hash));
        t.sql(&change).await.unwrap();
        let everything = "SELECT md5(string_agg(s::text || t::text, ' ' ORDER BY t.id)) AS value
                          FROM sessions AS s JOIN refresh_tokens AS t ON t.session_id = s.id";
        let before = t.sql_value(everything).await;

        let outcome = fixture.sessions.rotate(rotation.clone()).await.unwrap();

        assert_eq!(outcome, None, "{change}");
        assert_eq!(t.sql_value(everything).await, before, "{change}");
    }
    let rotation = fixture.decide(100).await;
    let rotated = fixture.sessions.rotate(rotation.clone()).await.unwrap();
    assert_eq!(rotated.as_ref(), Some(&rotation.next.session));
    assert_eq!(issued(&t, &rotation).await, 1);
}

async fn what_somebody_else_holds_is_passed_over(t: Test) {
    let fixture = Fixture::of(&t).await;
    for (number, table) in ["users", "sessions", "refresh_tokens"].into_iter().enumerate() {
        let rotation = fixture.decide(u8::try_from(number * 2).unwrap()).await;
        let rows = format!("SELECT 1 FROM {table} FOR UPDATE");
        let blocker = Blocker::holding(&t.database_url(), &rows).await;

        tokio::select! {
            outcome = fixture.sessions.rotate(rotation.clone()) => assert_eq!(outcome.unwrap(), None, "{table}"),
            () = eventually("it waits", async || {
                let waiting = "pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
                count(&t, waiting).await > 0
            }) => panic!("it waits for {table}"),
        }

        blocker.release().await;
        assert_eq!(issued(&t, &rotation).await, 0, "{table}");
        assert!(
            fixture.sessions.rotate(rotation).await.unwrap().is_some(),
            "{table}"
        );
    }
}

/// Also if they go together.
async fn of_those_that_exchange_one_token_one_does(t: Test) {
    const CALLS: usize = 50;
    let fixture = Fixture::of(&t).await;
    let rotation = fixture.decide(0).await;

    let calls = (0..CALLS).map(|_| fixture.sessions.rotate(rotation.clone()));
    let outcomes = futures_util::future::join_all(calls).await;

    let rotated = outcomes
        .into_iter()
        .filter_map(|outcome| outcome.expect("no error"))
        .count();
    assert_eq!(rotated, 1);
    assert_eq!(issued(&t, &rotation).await, 1);
}
