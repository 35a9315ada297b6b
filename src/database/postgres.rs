//! PostgreSQL: how a connection is made, and the queries that are written differently for it.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::connection::Instrumentation;
use diesel::dsl::sql;
use diesel::expression::BoxableExpression;
use diesel::pg::Pg;
use diesel::prelude::{BoolExpressionMethods, OptionalExtension, QueryDsl, SelectableHelper};
use diesel::sql_types::{BigInt, Bool, Nullable};
use diesel_async::{
    AnsiTransactionManager, AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection,
    TransactionManager,
};

use super::connection::DatabaseConnection;
use super::pool::Lease;
use super::rows::{SessionRow, SigningKeyRow, UserEventRow, UserRow};
use super::schema::{sessions, signing_keys, user_events, users};
use super::sql_types::{StoredTime, StoredUuid, UtcTimestamp};
use super::work::Work;
use super::{DatabaseError, sql_echo, tls};
use crate::config::{PostgresUrl, StatementLimits};
use crate::domain::{EmailPrefix, EventCursor, Session, SessionId, SigningKeyRecord, User, UserId};

#[path = "queries/mod.rs"]
pub(crate) mod queries;

pub(crate) type Connection = AsyncPgConnection;
pub(crate) type Backend = Pg;

/// Where a PostgreSQL server is and how its connections are set up.
pub(crate) struct Target {
    url: PostgresUrl,
    tls: Option<tokio_postgres_rustls::MakeRustlsConnect>,
    connect_timeout: Duration,
    limits: StatementLimits,
    echo_sql: bool,
}

impl Target {
    pub(crate) fn new(
        url: PostgresUrl,
        connect_timeout: Duration,
        limits: StatementLimits,
        echo_sql: bool,
    ) -> Result<Self, tls::TlsError> {
        Ok(Self {
            tls: tls::connector(&url.tls)?,
            url,
            connect_timeout,
            limits,
            echo_sql,
        })
    }
}

/// How statements are planned, unless the operator's options say otherwise. A connection keeps the plans of its
/// statements, and one that was made for a table of a few rows must not read the whole of it a million users later; there
/// is an index for whatever is asked here. None of the statements is large enough for compiling it to pay.
const PLANS: &str = "-c enable_seqscan=off -c jit=off";

/// Returns the settings of a connection, which are sent with its first message and so cost no round trip of their own.
/// Of two for the same thing the later one counts.
fn options(of_operator: &str, limits: &StatementLimits) -> String {
    format!(
        "{PLANS} {of_operator} -c statement_timeout={} -c lock_timeout={} -c idle_in_transaction_session_timeout={}",
        limits.statement_timeout.as_millis(),
        limits.lock_timeout.as_millis(),
        limits.idle_in_transaction_timeout.as_millis(),
    )
}

impl DatabaseConnection for Connection {
    type Target = Target;

    async fn connect(target: &Arc<Target>) -> Result<Self, DatabaseError> {
        let mut config = target.url.config.clone();
        let limits = &target.limits;
        let options = options(config.get_options().unwrap_or_default(), limits);
        config
            .options(options)
            .application_name("identity")
            .connect_timeout(target.connect_timeout)
            .tcp_user_timeout(limits.statement_timeout)
            .keepalives(true);
        let mut connection = match &target.tls {
            Some(connector) => {
                config.ssl_mode(tokio_postgres::config::SslMode::Require);
                let (client, connection) = config
                    .connect(connector.clone())
                    .await
                    .map_err(|error| connect_error(&error))?;
                Self::try_from_client_and_connection(client, connection).await
            }
            None => {
                config.ssl_mode(tokio_postgres::config::SslMode::Disable);
                let (client, connection) = config
                    .connect(tokio_postgres::NoTls)
                    .await
                    .map_err(|error| connect_error(&error))?;
                Self::try_from_client_and_connection(client, connection).await
            }
        }
        .map_err(|error| DatabaseError::Unavailable(error.to_string()))?;
        if target.echo_sql {
            let echo: Box<dyn Instrumentation> = Box::new(sql_echo);
            connection.set_instrumentation(echo);
        }
        Ok(connection)
    }

    async fn ping(&mut self) -> Result<(), DatabaseError> {
        Ok(self.batch_execute("SELECT 1").await?)
    }

    fn is_closed(&mut self) -> bool {
        diesel_async::pooled_connection::PoolableConnection::is_broken(self)
    }

    async fn run(
        mut lease: Lease<Self>,
        limit: Duration,
        work: Work<Self>,
    ) -> (Option<Lease<Self>>, Result<(), DatabaseError>) {
        let outcome = tokio::time::timeout(limit, work(lease.connection())).await;
        (Some(lease), outcome.unwrap_or(Err(DatabaseError::TimedOut)))
    }
}

/// Begins a transaction that may write.
pub(super) async fn begin(connection: &mut Connection) -> Result<(), DatabaseError> {
    Ok(AnsiTransactionManager::begin_transaction(connection).await?)
}

/// Commits the transaction.
pub(super) async fn commit(connection: &mut Connection) -> Result<(), DatabaseError> {
    Ok(AnsiTransactionManager::commit_transaction(connection).await?)
}

/// Rolls the transaction back.
pub(super) async fn rollback(connection: &mut Connection) -> Result<(), DatabaseError> {
    Ok(AnsiTransactionManager::rollback_transaction(connection).await?)
}

/// Says what is wrong without the address or the password, which the driver never prints either.
fn connect_error(error: &tokio_postgres::Error) -> DatabaseError {
    use std::error::Error as _;
    let cause = error
        .source()
        .map(|cause| format!(": {cause}"))
        .unwrap_or_default();
    DatabaseError::Unavailable(format!("{error}{cause}"))
}

/// Reads a user and keeps other transactions from changing it until this one ends. Rows that refer to the user can
/// be written meanwhile: with a stronger lock, an exchange of tokens and a block would wait for each other.
async fn lock_user(tx: &mut Connection, id: UserId) -> Result<Option<User>, DatabaseError> {
    let row = users::table
        .find(StoredUuid::from(id))
        .select(UserRow::as_select())
        .for_no_key_update()
        .first(tx)
        .await
        .optional()?;
    Ok(row.map(User::from))
}

/// Reads a user that is about to be deleted, once no other transaction keeps it, and keeps others from writing rows
/// that refer to it: whatever is done to all of them is done to the last one.
async fn lock_user_to_delete(tx: &mut Connection, id: UserId) -> Result<Option<User>, DatabaseError> {
    let row = users::table
        .find(StoredUuid::from(id))
        .select(UserRow::as_select())
        .for_update()
        .first(tx)
        .await
        .optional()?;
    Ok(row.map(User::from))
}

/// Reads a user and keeps other transactions from deleting it until this one ends.
async fn keep_user(tx: &mut Connection, id: UserId) -> Result<Option<User>, DatabaseError> {
    let row = users::table
        .find(StoredUuid::from(id))
        .select(UserRow::as_select())
        .for_key_share()
        .first(tx)
        .await
        .optional()?;
    Ok(row.map(User::from))
}

/// Writes the users whose id and login names are free, and returns their ids.
async fn insert_free_users(
    tx: &mut Connection,
    rows: Vec<UserRow>,
) -> Result<Vec<StoredUuid>, DatabaseError> {
    let insert = diesel::insert_into(users::table)
        .values(rows)
        .on_conflict_do_nothing()
        .returning(users::id);
    Ok(insert.get_results(tx).await?)
}

/// Writes events.
async fn insert_user_events(tx: &mut Connection, rows: Vec<UserEventRow>) -> Result<(), DatabaseError> {
    let insert = diesel::insert_into(user_events::table).values(rows);
    insert.execute(tx).await?;
    Ok(())
}

/// Reads a session and keeps other transactions from changing it until this one ends.
async fn lock_session(tx: &mut Connection, id: SessionId) -> Result<Option<Session>, DatabaseError> {
    let row = sessions::table
        .find(StoredUuid::from(id))
        .select(SessionRow::as_select())
        .for_update()
        .first(tx)
        .await
        .optional()?;
    Ok(row.map(Session::from))
}

/// Reads a session and its user, and keeps other transactions from changing the session and from deleting the user until
/// this one ends. It locks the user first, as those do that delete one.
async fn lock_session_with_user(
    tx: &mut Connection,
    id: SessionId,
) -> Result<Option<(Session, User)>, DatabaseError> {
    // A session stays with its user.
    let user_id: Option<StoredUuid> = sessions::table
        .find(StoredUuid::from(id))
        .select(sessions::user_id)
        .first(tx)
        .await
        .optional()?;
    let Some(user_id) = user_id else {
        return Ok(None);
    };
    let user = keep_user(tx, UserId::from_stored(user_id.0)).await?;
    Ok(lock_session(tx, id).await?.zip(user))
}

/// Reads the signing keys and keeps other transactions from changing them until this one ends.
async fn lock_signing_keys(tx: &mut Connection) -> Result<Vec<SigningKeyRecord>, DatabaseError> {
    let rows: Vec<SigningKeyRow> = signing_keys::table
        .select(SigningKeyRow::as_select())
        .order(signing_keys::kid)
        .for_update()
        .load(tx)
        .await?;
    Ok(rows.into_iter().map(SigningKeyRecord::from).collect())
}

/// Counts an attempt, in one statement, unless the next one is not allowed yet. Returns no row then.
const COUNT_ATTEMPT: &str = "
    INSERT INTO lockouts AS l (subject, network, failures, counted_from, retry_at, updated_at)
    VALUES ($1, $2, 1, $3, $3 + (CASE WHEN 1 >= $5 THEN $6 ELSE 0 END) * interval '1 microsecond', $3)
    ON CONFLICT (subject, network) DO UPDATE SET
        failures = CASE WHEN l.counted_from <= $4 THEN 1 ELSE l.failures + 1 END,
        counted_from = CASE
            WHEN l.counted_from <= $4 OR l.counted_from > $3 THEN $3 ELSE l.counted_from
        END,
        retry_at = $3 + interval '1 microsecond' * CASE
            WHEN l.counted_from <= $4 THEN CASE WHEN 1 >= $5 THEN $6 ELSE 0 END
            WHEN l.failures + 1 < $5 THEN 0
            ELSE least($6 << least(l.failures + 1 - $5, 20), $7)
        END,
        updated_at = $3
    WHERE l.failures < $5 OR l.retry_at <= $3 OR l.retry_at > $8
    RETURNING l.last_success_at";

/// The window of events from transaction $1 on, which ends before $2 at the latest. The smallest number is found in the
/// index of the transactions, which `min` alone would pass by to look for it in that of the numbers; and so is the last
/// transaction, where `EXISTS` would look through all of the table when there is none.
///
/// `overtaken` is the first transaction of the window, of those from $3 on, with an event that came after one of the same
/// user which is not in the window yet. Only events since the first of those are looked through, which are found by their
/// numbers (the casts keep the planner from reading the window, which may be all of the table); and nothing is while a
/// transaction goes on and all before it has been told.
const EVENT_WINDOW: &str = "
    WITH bounds AS MATERIALIZED (
        SELECT present, least(pg_snapshot_xmin(present), $2::bigint::text::xid8) AS window_end
        FROM pg_current_snapshot() AS present
    )
    SELECT window_end::text::bigint AS window_end,
           pg_snapshot_xmax(present)::text::bigint AS transactions_end,
           coalesce((
               SELECT transaction_id FROM user_events ORDER BY transaction_id DESC LIMIT 1
           ) >= window_end, false) AS has_held_back,
           (
               SELECT min(sequence + 0) FROM user_events
               WHERE transaction_id < window_end AND transaction_id >= $1::bigint::text::xid8
           ) AS first_sequence,
           (
               SELECT min(later.transaction_id::text::bigint) FROM user_events AS later
               WHERE $3::bigint < window_end::text::bigint
                 AND later.sequence > (SELECT min(sequence + 0) FROM user_events WHERE transaction_id >= window_end)
                 AND later.transaction_id::text::bigint < window_end::text::bigint
                 AND later.transaction_id::text::bigint >= $3::bigint
                 AND EXISTS (
                     SELECT FROM user_events AS held_back
                     WHERE held_back.user_id = later.user_id
                       AND held_back.transaction_id >= window_end
                       AND held_back.sequence < later.sequence
                 )
           ) AS overtaken
    FROM bounds";

/// Returns the window of the events from a transaction on, which ends before `end_at_most`, when those of the transactions
/// before `told` have been told.
async fn event_window(
    connection: &mut Connection,
    from: i64,
    end_at_most: i64,
    told: i64,
) -> Result<queries::user_events::WindowRow, DatabaseError> {
    let window = diesel::sql_query(EVENT_WINDOW)
        .bind::<BigInt, _>(from)
        .bind::<BigInt, _>(end_at_most)
        .bind::<BigInt, _>(told);
    Ok(window.get_result(connection).await?)
}

/// Events of the transactions of a window.
fn in_window(
    cursor: &EventCursor,
) -> Box<dyn BoxableExpression<user_events::table, Pg, SqlType = Bool>> {
    Box::new(
        sql::<Bool>("transaction_id >= ")
            .bind::<BigInt, _>(cursor.from)
            .sql("::bigint::text::xid8 AND transaction_id < ")
            .bind::<BigInt, _>(cursor.to)
            .sql("::bigint::text::xid8"),
    )
}

/// Gives events that were restored from a backup of another cluster, whose transactions have not happened here, to this
/// transaction: otherwise nobody would see them before as many transactions have happened. Returns how many.
pub(crate) async fn adopt_events(tx: &mut Connection, (): &()) -> Result<usize, DatabaseError> {
    Ok(diesel::sql_query(
        "UPDATE user_events SET transaction_id = pg_current_xact_id()
         WHERE transaction_id >= pg_snapshot_xmax(pg_current_snapshot())",
    )
    .execute(tx)
    .await?)
}

diesel::infix_operator!(PatternAtLeast, " ~>=~ ", backend: Pg);
diesel::infix_operator!(PatternBelow, " ~<~ ", backend: Pg);

/// Users whose email begins with a prefix, in the byte order that the `text_pattern_ops` index has.
fn email_has_prefix(
    prefix: &EmailPrefix,
) -> Box<dyn BoxableExpression<users::table, Pg, SqlType = Nullable<Bool>>> {
    use diesel::expression::AsExpression;
    use diesel::sql_types::Text;
    type Bound = Nullable<Text>;
    let lower = AsExpression::<Bound>::as_expression(Some(prefix.as_str().to_owned()));
    let at_least = PatternAtLeast::new(users::email_normalized, lower);
    match prefix.upper_bound() {
        Some(bound) => {
            let upper = AsExpression::<Bound>::as_expression(Some(bound));
            Box::new(at_least.and(PatternBelow::new(users::email_normalized, upper)))
        }
        None => Box::new(at_least),
    }
}

/// Returns what time it is for the database.
pub(super) async fn current_time(connection: &mut Connection) -> Result<DateTime<Utc>, DatabaseError> {
    let time: StoredTime = diesel::select(sql::<UtcTimestamp>("clock_timestamp()"))
        .get_result(connection)
        .await?;
    Ok(time.0)
}

/// Returns how far the write-ahead log of the primary has got, in bytes.
pub(super) async fn primary_position(
    connection: &mut Connection,
    (): &(),
) -> Result<i64, DatabaseError> {
    Ok(
        diesel::select(sql::<BigInt>("(pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint"))
            .get_result(connection)
            .await?,
    )
}

/// Returns how far a replica has replayed the log of its primary, in bytes; `None` if it is not a replica.
pub(super) async fn replica_position(
    connection: &mut Connection,
    (): &(),
) -> Result<Option<i64>, DatabaseError> {
    Ok(diesel::select(sql::<Nullable<BigInt>>(
        "CASE WHEN pg_is_in_recovery() THEN (pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint END",
    ))
    .get_result(connection)
    .await?)
}

impl Target {
    /// The same server, where statements may take as long as they need.
    pub(super) fn without_limits(&self) -> Arc<Self> {
        Arc::new(Self {
            url: self.url.clone(),
            tls: self.tls.clone(),
            limits: StatementLimits {
                statement_timeout: Duration::ZERO,
                lock_timeout: Duration::ZERO,
                idle_in_transaction_timeout: Duration::ZERO,
                ..self.limits
            },
            ..*self
        })
    }

    /// Opens a connection outside of the pools, within the time that connecting may take.
    pub(super) async fn connect_in_time(self: &Arc<Self>) -> Result<Connection, DatabaseError> {
        tokio::time::timeout(self.connect_timeout, Connection::connect(self))
            .await
            .map_err(|_| DatabaseError::Unavailable("connecting took too long".to_owned()))?
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{StatementLimits, options};

    #[test]
    fn an_operator_may_have_statements_planned_otherwise_but_not_without_limits() {
        let limits = StatementLimits {
            statement_timeout: Duration::from_secs(3),
            lock_timeout: Duration::from_secs(2),
            idle_in_transaction_timeout: Duration::from_secs(5),
            busy_timeout: Duration::from_secs(4),
        };
        assert_eq!(
            options("-c jit=on", &limits),
            "-c enable_seqscan=off -c jit=off -c jit=on -c statement_timeout=3000 -c lock_timeout=2000 \
             -c idle_in_transaction_session_timeout=5000"
        );
    }
}
