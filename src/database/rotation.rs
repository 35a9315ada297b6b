//! The exchange of a refresh token in one statement, on PostgreSQL.
//!
//! What is to be done was decided on what a read has returned. The statement does it if that is still so: the user is the
//! same version, the session goes on and is at the generation of the token, and the token was neither used nor revoked. It
//! locks the user and then the session, as all that locks them. Its own commit makes it true: one round trip instead of
//! the seven that it takes to lock, look, decide and write. Where anything differs, nothing is written, and the
//! transaction that does all of that finds out.

use std::sync::Arc;

use diesel::pg::Pg;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types::{BigInt, Binary, Nullable, Text};
use diesel_async::RunQueryDsl;

use super::postgres::Connection;
use super::sql_types::{IpAddressType, StoredIp, StoredTime, StoredUuid, UtcTimestamp, Uuid};
use super::{Backend, Database, DatabaseError, run_to_its_end};
use crate::domain::{Rotation, Session, new_uuid};

impl Database {
    /// Exchanges a refresh token in one statement, if what was decided on is still so. On SQLite, where a transaction has
    /// no round trips, there is nothing to be gained.
    pub(crate) async fn rotate_at_once(
        &self,
        rotation: Rotation,
    ) -> Result<Option<Session>, DatabaseError> {
        /// That of the transaction of which it is the short form.
        const NAME: &str = "sessions::refresh";
        let Backend::Postgres(database) = &self.backend else {
            return Ok(None);
        };
        let lease = database.pools.writer.acquire().await?;
        let database = Arc::clone(database);
        run_to_its_end(async move { database.pools.at_once(NAME, lease, rotate, rotation).await }).await
    }
}

async fn rotate(
    connection: &mut Connection,
    rotation: &Rotation,
) -> Result<Option<Session>, DatabaseError> {
    let written = Rotate::new(rotation).execute(connection).await?;
    Ok((written == 1).then(|| rotation.next.session.clone()))
}

/// The statement with its values. It is prepared once per connection.
#[derive(QueryId)]
struct Rotate {
    user_id: StoredUuid,
    user_version: i64,
    session_id: StoredUuid,
    generation: i64,
    token_hash: Vec<u8>,
    now: StoredTime,
    next_generation: i64,
    idle_expires_at: StoredTime,
    next_id: StoredUuid,
    next_token_hash: Vec<u8>,
    user_agent: Option<String>,
    ip_address: Option<StoredIp>,
}

impl Rotate {
    fn new(rotation: &Rotation) -> Self {
        let next = &rotation.next;
        let session = &next.session;
        let user_agent = next.client.user_agent.as_ref();
        Self {
            user_id: session.user_id.into(),
            user_version: rotation.user_version,
            session_id: session.id.into(),
            generation: rotation.generation,
            token_hash: rotation.token_hash.to_vec(),
            now: StoredTime(next.created_at),
            next_generation: session.generation,
            idle_expires_at: StoredTime(session.idle_expires_at),
            next_id: StoredUuid(new_uuid(next.created_at)),
            next_token_hash: next.token_hash.to_vec(),
            user_agent: user_agent.map(|agent| agent.as_str().to_owned()),
            ip_address: next.client.ip_address.map(StoredIp),
        }
    }
}

impl QueryFragment<Pg> for Rotate {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("WITH kept AS (SELECT id FROM users WHERE id = ");
        out.push_bind_param::<Uuid, _>(&self.user_id)?;
        out.push_sql(" AND version = ");
        out.push_bind_param::<BigInt, _>(&self.user_version)?;
        out.push_sql(" FOR KEY SHARE), locked AS (SELECT s.id FROM kept JOIN sessions AS s ON s.user_id = kept.id WHERE s.id = ");
        out.push_bind_param::<Uuid, _>(&self.session_id)?;
        out.push_sql(" AND s.revoked_at IS NULL AND s.generation = ");
        out.push_bind_param::<BigInt, _>(&self.generation)?;
        out.push_sql(" FOR UPDATE OF s), used AS (UPDATE refresh_tokens AS t SET used_at = ");
        out.push_bind_param::<UtcTimestamp, _>(&self.now)?;
        out.push_sql(" FROM locked WHERE t.session_id = locked.id AND t.token_hash = ");
        out.push_bind_param::<Binary, _>(&self.token_hash)?;
        out.push_sql(" AND t.used_at IS NULL AND t.revoked_at IS NULL RETURNING t.session_id)");
        out.push_sql(", rotated AS (UPDATE sessions AS s SET generation = ");
        out.push_bind_param::<BigInt, _>(&self.next_generation)?;
        out.push_sql(", last_refresh_at = ");
        out.push_bind_param::<UtcTimestamp, _>(&self.now)?;
        out.push_sql(", idle_expires_at = ");
        out.push_bind_param::<UtcTimestamp, _>(&self.idle_expires_at)?;
        out.push_sql(" FROM used WHERE s.id = used.session_id RETURNING s.id, s.user_id)");
        // It takes its rows from the updates, so that the token before it is used by then: only one of a session is live.
        out.push_sql(" INSERT INTO refresh_tokens (id, session_id, user_id, generation, token_hash, expires_at, user_agent, ip_address, created_at) SELECT ");
        out.push_bind_param::<Uuid, _>(&self.next_id)?;
        out.push_sql(", rotated.id, rotated.user_id, ");
        out.push_bind_param::<BigInt, _>(&self.next_generation)?;
        out.push_sql(", ");
        out.push_bind_param::<Binary, _>(&self.next_token_hash)?;
        out.push_sql(", ");
        out.push_bind_param::<UtcTimestamp, _>(&self.idle_expires_at)?;
        out.push_sql(", ");
        out.push_bind_param::<Nullable<Text>, _>(&self.user_agent)?;
        out.push_sql(", ");
        out.push_bind_param::<Nullable<IpAddressType>, _>(&self.ip_address)?;
        out.push_sql(", ");
        out.push_bind_param::<UtcTimestamp, _>(&self.now)?;
        out.push_sql(" FROM rotated");
        Ok(())
    }
}
