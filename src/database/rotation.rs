//! The exchange of refresh tokens in one statement, on PostgreSQL.
//!
//! Most tokens are exchanged once, in time, and by the client that they were issued to. The statement does just that, and
//! nothing in every other case: it locks the session and the token, and looks whether they and the user are such that
//! [`Session::refresh`] would have the token exchanged and nobody is to be kept out. Its own commit makes it true: one
//! round trip instead of the eight that it takes to read, lock, look, decide and write. Whoever deletes or blocks a user
//! ends the sessions with it, and waits for that lock.
//!
//! Exchanges that wait at the same moment share it ([`super::together`]). It waits for nobody: what somebody else has
//! locked is passed over, so that it does not matter in which order it locks. Whatever it does not do, for whichever
//! reason, is left to those who look what to do; nobody gets the error of another one.

use std::collections::{HashMap, HashSet};
use std::iter;
use std::sync::Arc;
use std::time::Duration;

use diesel::dsl::SqlTypeOf;
use diesel::pg::Pg;
use diesel::prelude::Selectable;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types::{Array, BigInt, Binary, Nullable, Text};
use diesel_async::RunQueryDsl;

use super::postgres::Connection;
use super::rows::SessionRow;
use super::sql_types::{IpAddressType, StoredIp, StoredTime, StoredUuid, UtcTimestamp, Uuid};
use super::together::{Overdue, Terms, Together};
use super::{Backend, Database, DatabaseError, PostgresDatabase};
use crate::domain::{Rotation, Session, SessionId, new_uuid};

/// The metric label: that of the transaction of which it is the short form.
const NAME: &str = "sessions::refresh";

/// The exchanges that wait for each other. Those that happen are told what the session is then.
pub(super) type Rotations = Together<Rotation, Option<Session>>;

/// Nobody waits yet.
pub(super) fn rotations() -> Rotations {
    Together::new(Terms {
        // A statement costs the database about as much as two of its exchanges, beside them. With a second one under way,
        // or the first exchange gone at once, most have a single one.
        batches: 1,
        calls: 64,
        halves_above: Some(8),
        gathers: true,
        blocks: false,
        patience: Duration::from_millis(50),
        overdue: Overdue::Goes,
    })
}

impl Database {
    /// Exchanges a refresh token in one statement and returns its session, if that is all there is to do. There is no such
    /// statement on SQLite, where a transaction has no round trips.
    pub(crate) async fn rotate_at_once(
        &self,
        rotation: &Rotation,
    ) -> Result<Option<Session>, DatabaseError> {
        let Backend::Postgres(database) = &self.backend else {
            return Ok(None);
        };
        let this = Arc::clone(database);
        let write = move |rotations| {
            let postgres = Arc::clone(&this);
            async move { postgres.rotate(rotations).await }
        };
        database.rotations.call(rotation.clone(), write).await
    }
}

impl PostgresDatabase {
    /// Makes the exchanges that can be made, and returns the session of each of them.
    async fn rotate(&self, mut rotations: Vec<Rotation>) -> Vec<Result<Option<Session>, DatabaseError>> {
        let ids: Vec<SessionId> = rotations.iter().map(|one| one.session_id).collect();
        // Of two that exchange one token, the second has to look again.
        let mut seen = HashSet::new();
        rotations.retain(|one| seen.insert(one.session_id));
        let lease = match self.pools.writer.acquire().await {
            Ok(lease) => lease,
            // They would wait for one in vain a second time.
            Err(error) => return ids.iter().map(|_| Err(error.clone())).collect(),
        };
        let mut rotated: HashMap<SessionId, Session> =
            match self.pools.at_once(lease, rotate, rotations).await {
                Ok(sessions) => sessions.into_iter().map(|one| (one.id, one)).collect(),
                // Whether it was carried out is seen by those who look again.
                Err(error) => {
                    tracing::debug!(%error, "exchanging refresh tokens one by one");
                    self.pools.metrics.count_transaction(NAME, "retried");
                    HashMap::new()
                }
            };
        let outcomes = ids.iter().map(|id| {
            let session = rotated.remove(id);
            if session.is_some() {
                self.pools.metrics.count_transaction(NAME, "committed");
            }
            Ok(session)
        });
        outcomes.collect()
    }
}

async fn rotate(
    connection: &mut Connection,
    rotations: &Vec<Rotation>,
) -> Result<Vec<Session>, DatabaseError> {
    let rows: Vec<SessionRow> = match rotations.as_slice() {
        [rotation] => RotateOne(Values::of(rotation)).get_results(connection).await?,
        _ => RotateMany(Lists::of(rotations)).get_results(connection).await?,
    };
    Ok(rows.into_iter().map(Session::from).collect())
}

/// Declares the values of an exchange, in their order: what each is called, here and in the statements, its type here, in
/// Diesel, and in PostgreSQL.
macro_rules! values {
    ($($name:ident: $type:ty, $diesel_type:ty, $postgres_type:literal;)+) => {
        /// The values of one exchange.
        struct Values {
            $($name: $type,)+
        }

        /// The values of many exchanges, a list of each.
        #[derive(Default)]
        struct Lists {
            $($name: Vec<$type>,)+
        }

        impl Lists {
            fn push(&mut self, one: Values) {
                $(self.$name.push(one.$name);)+
            }
        }

        impl QueryFragment<Pg> for RotateOne {
            fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
                out.push_sql(BEGIN);
                let mut separators = separators("(VALUES (");
                $(
                    out.push_sql(separators.next().unwrap_or_default());
                    out.push_bind_param::<$diesel_type, _>(&self.0.$name)?;
                    out.push_sql(concat!("::", $postgres_type));
                )+
                out.push_sql("))");
                push_names(&mut out);
                out.push_sql(REST);
                Ok(())
            }
        }

        impl QueryFragment<Pg> for RotateMany {
            fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
                out.push_sql(BEGIN);
                // A planner that sees the length of an array makes a plan for it, anew for every exchange. A subquery
                // keeps it from that, and the connection keeps the plan.
                let mut separators = separators("unnest(");
                $(
                    out.push_sql(separators.next().unwrap_or_default());
                    out.push_sql("(SELECT ");
                    out.push_bind_param::<Array<$diesel_type>, _>(&self.0.$name)?;
                    out.push_sql(concat!("::", $postgres_type, "[])"));
                )+
                out.push_sql(")");
                push_names(&mut out);
                out.push_sql(REST);
                Ok(())
            }
        }

        fn push_names(out: &mut AstPass<'_, '_, Pg>) {
            let mut separators = separators(" AS one (");
            $(
                out.push_sql(separators.next().unwrap_or_default());
                out.push_sql(stringify!($name));
            )+
            out.push_sql(")");
        }
    };
}

values! {
    session_id: StoredUuid, Uuid, "uuid";
    generation: i64, BigInt, "bigint";
    token_hash: Vec<u8>, Binary, "bytea";
    client_id: String, Text, "text";
    now: StoredTime, UtcTimestamp, "timestamptz";
    idle_end: StoredTime, UtcTimestamp, "timestamptz";
    next_id: StoredUuid, Uuid, "uuid";
    next_token_hash: Vec<u8>, Binary, "bytea";
    user_agent: Option<String>, Nullable<Text>, "text";
    ip_address: Option<StoredIp>, Nullable<IpAddressType>, "inet";
}

/// What comes before a first value, and before each of those that follow.
fn separators(first: &'static str) -> impl Iterator<Item = &'static str> {
    iter::once(first).chain(iter::repeat(", "))
}

impl Values {
    fn of(rotation: &Rotation) -> Self {
        let user_agent = rotation.client.user_agent.as_ref();
        Self {
            session_id: rotation.session_id.into(),
            generation: rotation.generation,
            token_hash: rotation.token_hash.to_vec(),
            client_id: rotation.client.client_id.as_str().to_owned(),
            now: StoredTime(rotation.now),
            // Unless the session ends sooner.
            idle_end: StoredTime(rotation.now + rotation.policy.idle_lifetime),
            next_id: StoredUuid(new_uuid(rotation.now)),
            next_token_hash: rotation.next_token_hash.to_vec(),
            user_agent: user_agent.map(|agent| agent.as_str().to_owned()),
            ip_address: rotation.client.ip_address.map(StoredIp),
        }
    }
}

impl Lists {
    fn of(rotations: &[Rotation]) -> Self {
        let mut lists = Self::default();
        for rotation in rotations {
            lists.push(Values::of(rotation));
        }
        lists
    }
}

/// The statement for one exchange, which goes alone. It costs the database less than the one for many does for a single one.
/// Like that, it is prepared once per connection.
#[derive(QueryId)]
struct RotateOne(Values);

/// The statement for many exchanges.
#[derive(QueryId)]
struct RotateMany(Lists);

impl Query for RotateOne {
    type SqlType = SqlTypeOf<<SessionRow as Selectable<Pg>>::SelectExpression>;
}

impl Query for RotateMany {
    type SqlType = <RotateOne as Query>::SqlType;
}

/// What comes before the values.
const BEGIN: &str = "WITH locked AS (SELECT one.*, t.id AS token_id FROM ";

/// What is done with the values, which every step hands on to the next: nothing is looked up twice, and nothing happens
/// that the step before did not do.
///
/// Every row is found by its key, and what it has to be is looked at afterwards (the limits keep the two apart). A planner
/// that knows little of the tables yet would read all live sessions otherwise, and the connection would keep that plan.
const REST: &str = "
        CROSS JOIN LATERAL (
            SELECT user_id, client_id, generation, idle_expires_at, expires_at, revoked_at
            FROM sessions WHERE id = one.session_id
            LIMIT 1 FOR UPDATE SKIP LOCKED
        ) AS s
        CROSS JOIN LATERAL (
            SELECT is_active, is_blocked FROM users WHERE id = s.user_id
            LIMIT 1
        ) AS u
        CROSS JOIN LATERAL (
            SELECT id, session_id, used_at, revoked_at FROM refresh_tokens WHERE token_hash = one.token_hash
            LIMIT 1 FOR UPDATE SKIP LOCKED
        ) AS t
        WHERE s.generation = one.generation AND s.client_id = one.client_id AND s.revoked_at IS NULL
            AND one.now < s.idle_expires_at AND one.now < s.expires_at
            AND u.is_active AND NOT u.is_blocked
            AND t.session_id = one.session_id AND t.used_at IS NULL AND t.revoked_at IS NULL
    ), used AS (
        UPDATE refresh_tokens AS t SET used_at = locked.now
        FROM locked
        WHERE t.id = locked.token_id
        RETURNING locked.*
    ), rotated AS (
        UPDATE sessions AS s SET
            generation = used.generation + 1,
            last_refresh_at = used.now,
            idle_expires_at = least(used.idle_end, s.expires_at)
        FROM used
        WHERE s.id = used.session_id
        RETURNING s.*, used.next_id, used.next_token_hash, used.user_agent AS next_user_agent,
            used.ip_address AS next_ip_address
    ), issued AS (
        INSERT INTO refresh_tokens (id, session_id, user_id, generation, token_hash, expires_at, user_agent,
            ip_address, created_at)
        SELECT next_id, id, user_id, generation, next_token_hash, idle_expires_at, next_user_agent, next_ip_address,
            last_refresh_at
        FROM rotated
    )
    SELECT id, user_id, client_id, method, provider, user_agent, ip_address, generation, last_refresh_at,
        idle_expires_at, expires_at, revoked_at, revoke_reason, created_at
    FROM rotated";
