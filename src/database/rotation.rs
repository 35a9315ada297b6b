//! The exchange of refresh tokens in one statement, on PostgreSQL.
//!
//! What is to be done was decided on what a read has returned. The statement does it if that is still so: the user is the
//! same version, the session goes on and is at the generation of the token, and the token was neither used nor revoked. It
//! locks all three, and its own commit makes it true: one round trip instead of the seven that it takes to lock, look,
//! decide and write.
//!
//! Exchanges that wait at the same moment share it ([`super::together`]). It waits for nobody: what somebody else has
//! locked is passed over, so that it does not matter in which order it locks. Whatever it does not do, for whichever
//! reason, is left to the transaction that looks again before it decides; nobody gets the error of another one.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types::{Array, BigInt, Binary, Nullable, Text};
use diesel_async::RunQueryDsl;

use super::postgres::Connection;
use super::sql_types::{IpAddressType, StoredIp, StoredTime, StoredUuid, UtcTimestamp, Uuid};
use super::together::{Overdue, Terms, Together};
use super::{Backend, Database, DatabaseError, PostgresDatabase};
use crate::domain::{Rotation, Session, new_uuid};

/// The metric label: that of the transaction of which it is the short form.
const NAME: &str = "sessions::refresh";

/// The exchanges that wait for each other. They are told whether they happened.
pub(super) type Rotations = Together<Rotation, bool>;

/// Nobody waits yet.
pub(super) fn rotations() -> Rotations {
    Together::new(Terms {
        // While one commit waits for the disk, the next statement is at work.
        batches: 2,
        calls: 64,
        patience: Duration::from_millis(50),
        overdue: Overdue::Goes,
    })
}

impl Database {
    /// Exchanges a refresh token in one statement, if what was decided on is still so. On SQLite, where a transaction has
    /// no round trips, there is nothing to be gained.
    pub(crate) async fn rotate_at_once(
        &self,
        rotation: Rotation,
    ) -> Result<Option<Session>, DatabaseError> {
        let Backend::Postgres(database) = &self.backend else {
            return Ok(None);
        };
        let rotated = rotation.next.session.clone();
        let this = Arc::clone(database);
        let write = move |rotations| {
            let postgres = Arc::clone(&this);
            async move { postgres.rotate(rotations).await }
        };
        let has_happened = database.rotations.call(rotation, write).await?;
        Ok(has_happened.then_some(rotated))
    }
}

impl PostgresDatabase {
    /// Writes what is still as it was read, and tells of each exchange whether it happened.
    async fn rotate(&self, mut rotations: Vec<Rotation>) -> Vec<Result<bool, DatabaseError>> {
        let ids: Vec<StoredUuid> = rotations.iter().map(Rotation::session_id).collect();
        // Of two that exchange one token, the second has to look again.
        let mut seen = HashSet::new();
        rotations.retain(|one| seen.insert(one.session_id().0));
        let lease = match self.pools.writer.acquire().await {
            Ok(lease) => lease,
            // They would wait for one in vain a second time.
            Err(error) => return ids.iter().map(|_| Err(error.clone())).collect(),
        };
        let mut written: HashSet<_> = match self.pools.at_once(lease, rotate, rotations).await {
            Ok(written) => written.into_iter().map(|id| id.0).collect(),
            // Whether it was carried out is seen by those who look again.
            Err(error) => {
                tracing::debug!(%error, "exchanging refresh tokens one by one");
                self.pools.metrics.count_transaction(NAME, "retried");
                HashSet::new()
            }
        };
        let outcomes = ids.iter().map(|id| {
            let has_happened = written.remove(&id.0);
            if has_happened {
                self.pools.metrics.count_transaction(NAME, "committed");
            }
            Ok(has_happened)
        });
        outcomes.collect()
    }
}

impl Rotation {
    fn session_id(&self) -> StoredUuid {
        self.next.session.id.into()
    }
}

#[expect(
    clippy::ptr_arg,
    reason = "a query takes its arguments as its caller keeps them"
)]
async fn rotate(
    connection: &mut Connection,
    rotations: &Vec<Rotation>,
) -> Result<Vec<StoredUuid>, DatabaseError> {
    Ok(Rotate::new(rotations).get_results(connection).await?)
}

/// The statement with its values, one of each for every exchange. It is prepared once per connection.
#[derive(QueryId)]
struct Rotate {
    user_ids: Vec<StoredUuid>,
    user_versions: Vec<i64>,
    session_ids: Vec<StoredUuid>,
    generations: Vec<i64>,
    token_hashes: Vec<Vec<u8>>,
    times: Vec<StoredTime>,
    idle_expiries: Vec<StoredTime>,
    next_ids: Vec<StoredUuid>,
    next_token_hashes: Vec<Vec<u8>>,
    user_agents: Vec<Option<String>>,
    ip_addresses: Vec<Option<StoredIp>>,
}

impl Rotate {
    fn new(rotations: &[Rotation]) -> Self {
        fn each<T>(rotations: &[Rotation], value: impl Fn(&Rotation) -> T) -> Vec<T> {
            rotations.iter().map(value).collect()
        }
        Self {
            user_ids: each(rotations, |one| one.next.session.user_id.into()),
            user_versions: each(rotations, |one| one.user_version),
            session_ids: each(rotations, Rotation::session_id),
            generations: each(rotations, |one| one.generation),
            token_hashes: each(rotations, |one| one.token_hash.to_vec()),
            times: each(rotations, |one| StoredTime(one.next.created_at)),
            idle_expiries: each(rotations, |one| StoredTime(one.next.session.idle_expires_at)),
            next_ids: each(rotations, |one| StoredUuid(new_uuid(one.next.created_at))),
            next_token_hashes: each(rotations, |one| one.next.token_hash.to_vec()),
            user_agents: each(rotations, |one| {
                let agent = one.next.client.user_agent.as_ref();
                agent.map(|agent| agent.as_str().to_owned())
            }),
            ip_addresses: each(rotations, |one| one.next.client.ip_address.map(StoredIp)),
        }
    }
}

impl Query for Rotate {
    type SqlType = Uuid;
}

impl QueryFragment<Pg> for Rotate {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        // A planner that sees the length of an array makes a plan for it, anew for every exchange. A subquery keeps it
        // from that, and the connection keeps the plan.
        out.push_sql("WITH locked AS (SELECT one.*, t.id AS token_id FROM unnest((SELECT ");
        out.push_bind_param::<Array<Uuid>, _>(&self.user_ids)?;
        out.push_sql("::uuid[]), (SELECT ");
        out.push_bind_param::<Array<BigInt>, _>(&self.user_versions)?;
        out.push_sql("::bigint[]), (SELECT ");
        out.push_bind_param::<Array<Uuid>, _>(&self.session_ids)?;
        out.push_sql("::uuid[]), (SELECT ");
        out.push_bind_param::<Array<BigInt>, _>(&self.generations)?;
        out.push_sql("::bigint[]), (SELECT ");
        out.push_bind_param::<Array<Binary>, _>(&self.token_hashes)?;
        out.push_sql("::bytea[]), (SELECT ");
        out.push_bind_param::<Array<UtcTimestamp>, _>(&self.times)?;
        out.push_sql("::timestamptz[]), (SELECT ");
        out.push_bind_param::<Array<UtcTimestamp>, _>(&self.idle_expiries)?;
        out.push_sql("::timestamptz[]), (SELECT ");
        out.push_bind_param::<Array<Uuid>, _>(&self.next_ids)?;
        out.push_sql("::uuid[]), (SELECT ");
        out.push_bind_param::<Array<Binary>, _>(&self.next_token_hashes)?;
        out.push_sql("::bytea[]), (SELECT ");
        out.push_bind_param::<Array<Nullable<Text>>, _>(&self.user_agents)?;
        out.push_sql("::text[]), (SELECT ");
        out.push_bind_param::<Array<Nullable<IpAddressType>>, _>(&self.ip_addresses)?;
        out.push_sql(REST);
        Ok(())
    }
}

/// What is done with the values, which every step hands on to the next: nothing is looked up twice, and nothing happens
/// that the step before did not do.
///
/// Every row is found by its key, and what it has to be is looked at afterwards (the limits keep the two apart). A planner
/// that knows little of the tables yet would read all live sessions otherwise, and the connection would keep that plan.
const REST: &str = "::inet[])) AS one (user_id, user_version, session_id, generation, token_hash, now, idle_expires_at,
        next_id, next_token_hash, user_agent, ip_address)
        CROSS JOIN LATERAL (
            SELECT version FROM users WHERE id = one.user_id
            LIMIT 1 FOR KEY SHARE SKIP LOCKED
        ) AS u
        CROSS JOIN LATERAL (
            SELECT user_id, generation, revoked_at FROM sessions WHERE id = one.session_id
            LIMIT 1 FOR UPDATE SKIP LOCKED
        ) AS s
        CROSS JOIN LATERAL (
            SELECT id, session_id, used_at, revoked_at FROM refresh_tokens WHERE token_hash = one.token_hash
            LIMIT 1 FOR UPDATE SKIP LOCKED
        ) AS t
        WHERE u.version = one.user_version
            AND s.user_id = one.user_id AND s.generation = one.generation AND s.revoked_at IS NULL
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
            idle_expires_at = used.idle_expires_at
        FROM used
        WHERE s.id = used.session_id
        RETURNING used.*
    )
    INSERT INTO refresh_tokens (id, session_id, user_id, generation, token_hash, expires_at, user_agent, ip_address,
        created_at)
    SELECT next_id, session_id, user_id, generation + 1, next_token_hash, idle_expires_at, user_agent, ip_address, now
    FROM rotated
    RETURNING session_id";
