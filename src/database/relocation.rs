//! Moving everything from an SQLite file to an empty PostgreSQL database.
//!
//! All of it happens in one transaction of either database: nobody writes to the file meanwhile, and on the server either
//! everything arrives or nothing does. Every table is read back before the end, and must hold the same rows.

use std::sync::Arc;

use diesel::SqliteConnection;
use diesel::connection::{DefaultLoadingMode, SimpleConnection};
use diesel::prelude::{
    Column, ExpressionMethods, Insertable, QueryDsl, Queryable, Selectable, SelectableHelper,
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::{FutureExt, TryStreamExt};
use ring::digest::{Context, SHA256};
use tokio::runtime::Handle;

use super::connection::DatabaseConnection;
use super::schema::{
    lockouts, login_attempts, oauth_accounts, one_time_tokens, refresh_tokens, request_ids,
    service_tokens, sessions, signing_keys, user_events, users,
};
use super::sql_types::{AuthProvider, StoredDate, StoredIp, StoredTime, StoredUuid};
use super::{Backend, Database, DatabaseError, postgres, sqlite};

/// Why nothing was moved.
#[derive(Debug, thiserror::Error)]
pub enum RelocationError {
    /// The source is no SQLite file, or the target no PostgreSQL server.
    #[error("only an SQLite file can be moved, and only to a PostgreSQL server")]
    WrongKind,
    /// There is something in the target.
    #[error("the table {0} of the target is not empty")]
    NotEmpty(&'static str),
    /// What arrived is not what was sent.
    #[error("the table {0} of the target does not hold the rows of the source")]
    Different(&'static str),
    /// The source failed.
    #[error("the source: {0}")]
    Source(DatabaseError),
    /// The target failed.
    #[error("the target: {0}")]
    Target(DatabaseError),
}

/// A table that was moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelocatedTable {
    /// Its name.
    pub name: &'static str,
    /// How many rows it has, here and there.
    pub rows: u64,
    /// What all of them come to, here and there: the exclusive or of the SHA-256 of each, in hexadecimal digits.
    pub digest: String,
}

impl Database {
    /// Copies everything to an empty database of the same version, and returns the tables. `report` is told of each as
    /// it is done.
    pub async fn relocate(
        &self,
        target: &Self,
        report: impl Fn(&RelocatedTable) + Send + 'static,
    ) -> Result<Vec<RelocatedTable>, RelocationError> {
        let (Backend::Sqlite(source), Backend::Postgres(target)) = (&self.backend, &target.backend)
        else {
            return Err(RelocationError::WrongKind);
        };
        let from = Arc::clone(&source.target);
        let to = postgres::Connection::connect(&target.target)
            .await
            .map_err(RelocationError::Target)?;
        let runtime = Handle::current();
        tokio::task::spawn_blocking(move || relocate(&from, to, &runtime, &report))
            .await
            .map_err(|error| RelocationError::Source(DatabaseError::Internal(error.to_string())))?
    }
}

fn relocate(
    from: &sqlite::Target,
    mut target: AsyncPgConnection,
    runtime: &Handle,
    report: &dyn Fn(&RelocatedTable),
) -> Result<Vec<RelocatedTable>, RelocationError> {
    let mut source = from.open().map_err(RelocationError::Source)?;
    // Whoever writes has to wait, and whoever reads does not.
    source.batch_execute("BEGIN IMMEDIATE").map_err(of_source)?;
    let moved = runtime.block_on(async {
        postgres::begin(&mut target)
            .await
            .map_err(RelocationError::Target)?;
        // A large table takes longer than a call may.
        diesel_async::SimpleAsyncConnection::batch_execute(
            &mut target,
            "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0",
        )
        .await
        .map_err(of_target)
    });
    moved?;
    let tables = copy_tables(&mut source, &mut target, runtime, report)?;
    runtime
        .block_on(postgres::commit(&mut target))
        .map_err(RelocationError::Target)?;
    source.batch_execute("ROLLBACK").map_err(of_source)?;
    Ok(tables)
}

fn of_source(error: diesel::result::Error) -> RelocationError {
    RelocationError::Source(error.into())
}

fn of_target(error: diesel::result::Error) -> RelocationError {
    RelocationError::Target(error.into())
}

/// The rows of a table, whatever their order.
#[derive(Debug, Default, PartialEq, Eq)]
struct Rows {
    count: u64,
    digest: [u8; 32],
}

impl Rows {
    fn add(&mut self, row: &impl Digested) {
        let mut context = Context::new(&SHA256);
        row.feed(&mut context);
        for (sum, byte) in self.digest.iter_mut().zip(context.finish().as_ref()) {
            *sum ^= byte;
        }
        self.count += 1;
    }

    fn into_table(self, name: &'static str) -> RelocatedTable {
        RelocatedTable {
            name,
            rows: self.count,
            digest: self.digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }
}

/// A value that a digest can be made of, which is the same whichever database it was read from. No two values that differ
/// feed the same bytes.
trait Digested {
    fn feed(&self, context: &mut Context);
}

fn feed_bytes(bytes: &[u8], context: &mut Context) {
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    context.update(&length.to_be_bytes());
    context.update(bytes);
}

impl Digested for String {
    fn feed(&self, context: &mut Context) {
        feed_bytes(self.as_bytes(), context);
    }
}

impl Digested for Vec<u8> {
    fn feed(&self, context: &mut Context) {
        feed_bytes(self, context);
    }
}

impl Digested for bool {
    fn feed(&self, context: &mut Context) {
        context.update(&[u8::from(*self)]);
    }
}

impl Digested for i32 {
    fn feed(&self, context: &mut Context) {
        context.update(&self.to_be_bytes());
    }
}

impl Digested for i64 {
    fn feed(&self, context: &mut Context) {
        context.update(&self.to_be_bytes());
    }
}

impl Digested for StoredUuid {
    fn feed(&self, context: &mut Context) {
        context.update(self.0.as_bytes());
    }
}

impl Digested for StoredTime {
    fn feed(&self, context: &mut Context) {
        self.0.timestamp_micros().feed(context);
    }
}

impl Digested for StoredDate {
    fn feed(&self, context: &mut Context) {
        self.0.to_string().feed(context);
    }
}

impl Digested for StoredIp {
    fn feed(&self, context: &mut Context) {
        self.0.to_string().feed(context);
    }
}

impl Digested for AuthProvider {
    fn feed(&self, context: &mut Context) {
        self.as_str().to_owned().feed(context);
    }
}

impl<T: Digested> Digested for Option<T> {
    fn feed(&self, context: &mut Context) {
        self.is_some().feed(context);
        if let Some(value) = self {
            value.feed(context);
        }
    }
}

/// Rows that are written with one statement. PostgreSQL takes 65,535 parameters, and a row has fewer than 30 columns.
const ROWS_PER_STATEMENT: usize = 500;

/// Describes each table by its columns, in an order in which rows that others refer to come first, and makes
/// `copy_tables` and `RELOCATED_COLUMNS` of it.
macro_rules! relocated_tables {
    ($($table:ident in the order of $order:ident as $row:ident { $($column:ident: $type:ty),+ $(,)? })+) => {
        $(
            #[derive(Queryable, Selectable, Insertable)]
            #[diesel(table_name = $table)]
            #[diesel(treat_none_as_default_value = false)]
            struct $row {
                $($column: $type),+
            }

            impl Digested for $row {
                fn feed(&self, context: &mut Context) {
                    $(self.$column.feed(context);)+
                }
            }

            impl $row {
                fn copy(
                    source: &mut SqliteConnection,
                    target: &mut AsyncPgConnection,
                    runtime: &Handle,
                ) -> Result<RelocatedTable, RelocationError> {
                    const NAME: &str = stringify!($table);
                    let there: i64 = runtime
                        .block_on($table::table.count().get_result(target).boxed())
                        .map_err(of_target)?;
                    if there != 0 {
                        return Err(RelocationError::NotEmpty(NAME));
                    }
                    let mut sent = Rows::default();
                    let query = $table::table.order($table::$order.asc()).select(Self::as_select());
                    let rows = diesel::RunQueryDsl::load_iter::<Self, DefaultLoadingMode>(query, source)
                        .map_err(of_source)?;
                    let mut batch = Vec::with_capacity(ROWS_PER_STATEMENT);
                    let write = |batch: Vec<Self>, target: &mut AsyncPgConnection| {
                        let insert = diesel::insert_into($table::table).values(batch);
                        runtime.block_on(insert.execute(target).boxed()).map_err(of_target)
                    };
                    for row in rows {
                        let row = row.map_err(of_source)?;
                        sent.add(&row);
                        batch.push(row);
                        if batch.len() == ROWS_PER_STATEMENT {
                            write(std::mem::take(&mut batch), target)?;
                        }
                    }
                    if !batch.is_empty() {
                        write(batch, target)?;
                    }
                    let read_back = async {
                        let query = $table::table.select(Self::as_select());
                        let rows = query.load_stream::<Self>(target).await.map_err(of_target)?;
                        rows.map_err(of_target)
                            .try_fold(Rows::default(), |mut rows, row| {
                                rows.add(&row);
                                std::future::ready(Ok(rows))
                            })
                            .await
                    };
                    let arrived = runtime.block_on(read_back.boxed())?;
                    if arrived == sent {
                        Ok(sent.into_table(NAME))
                    } else {
                        Err(RelocationError::Different(NAME))
                    }
                }
            }
        )+

        /// The tables and the columns that are moved. The rest is made anew by the target: the days of sessions,
        /// the numbers of events and the transactions that they are of.
        pub const RELOCATED_COLUMNS: &[(&str, &[&str])] = &[
            $((stringify!($table), &[$(<$table::$column as Column>::NAME),+])),+
        ];

        fn copy_tables(
            source: &mut SqliteConnection,
            target: &mut AsyncPgConnection,
            runtime: &Handle,
            report: &dyn Fn(&RelocatedTable),
        ) -> Result<Vec<RelocatedTable>, RelocationError> {
            let mut tables = Vec::new();
            $(
                let table = $row::copy(source, target, runtime)?;
                report(&table);
                tables.push(table);
            )+
            Ok(tables)
        }
    };
}

relocated_tables! {
    users in the order of created_at as UserColumns {
        id: StoredUuid,
        email: Option<String>,
        email_normalized: Option<String>,
        email_verified_at: Option<StoredTime>,
        username: Option<String>,
        username_normalized: Option<String>,
        full_name: Option<String>,
        birth_date: Option<StoredDate>,
        password_hash: Option<String>,
        password_changed_at: Option<StoredTime>,
        auth_provider: Option<AuthProvider>,
        is_active: bool,
        is_blocked: bool,
        block_reason: Option<String>,
        tokens_valid_after: Option<StoredTime>,
        version: i64,
        created_at: StoredTime,
        updated_at: StoredTime,
        imported_password_hash: Option<String>,
    }
    oauth_accounts in the order of created_at as OAuthAccountColumns {
        id: StoredUuid,
        user_id: StoredUuid,
        provider: String,
        issuer: String,
        subject: String,
        email: Option<String>,
        email_verified: bool,
        last_sign_in_at: Option<StoredTime>,
        created_at: StoredTime,
        updated_at: StoredTime,
    }
    sessions in the order of created_at as SessionColumns {
        id: StoredUuid,
        user_id: StoredUuid,
        client_id: String,
        method: String,
        provider: Option<AuthProvider>,
        user_agent: Option<String>,
        ip_address: Option<StoredIp>,
        generation: i64,
        last_refresh_at: StoredTime,
        idle_expires_at: StoredTime,
        expires_at: StoredTime,
        revoked_at: Option<StoredTime>,
        revoke_reason: Option<String>,
        created_at: StoredTime,
    }
    refresh_tokens in the order of created_at as RefreshTokenColumns {
        id: StoredUuid,
        session_id: StoredUuid,
        user_id: StoredUuid,
        generation: i64,
        token_hash: Vec<u8>,
        expires_at: StoredTime,
        used_at: Option<StoredTime>,
        revoked_at: Option<StoredTime>,
        user_agent: Option<String>,
        ip_address: Option<StoredIp>,
        created_at: StoredTime,
    }
    login_attempts in the order of attempted_at as LoginAttemptColumns {
        id: StoredUuid,
        user_id: Option<StoredUuid>,
        identifier: Option<String>,
        ip_address: Option<StoredIp>,
        user_agent: Option<String>,
        method: String,
        success: bool,
        failure_reason: Option<String>,
        attempted_at: StoredTime,
    }
    lockouts in the order of updated_at as LockoutColumns {
        subject: Vec<u8>,
        network: Vec<u8>,
        failures: i32,
        counted_from: StoredTime,
        retry_at: StoredTime,
        last_success_at: Option<StoredTime>,
        updated_at: StoredTime,
    }
    one_time_tokens in the order of created_at as OneTimeTokenColumns {
        id: StoredUuid,
        user_id: StoredUuid,
        purpose: String,
        token_hash: Vec<u8>,
        email_normalized: Option<String>,
        expires_at: StoredTime,
        used_at: Option<StoredTime>,
        created_at: StoredTime,
    }
    signing_keys in the order of created_at as SigningKeyColumns {
        kid: String,
        algorithm: String,
        public_key: Vec<u8>,
        private_key: Vec<u8>,
        activates_at: StoredTime,
        retires_at: Option<StoredTime>,
        revoked_at: Option<StoredTime>,
        created_at: StoredTime,
    }
    service_tokens in the order of created_at as ServiceTokenColumns {
        id: StoredUuid,
        name: String,
        token_hash: Vec<u8>,
        scopes: String,
        expires_at: Option<StoredTime>,
        revoked_at: Option<StoredTime>,
        last_used_at: Option<StoredTime>,
        created_at: StoredTime,
    }
    request_ids in the order of created_at as RequestIdColumns {
        caller: String,
        method: String,
        request_id: StoredUuid,
        fingerprint: Vec<u8>,
        user_id: StoredUuid,
        created_at: StoredTime,
        expires_at: StoredTime,
    }
    user_events in the order of sequence as UserEventColumns {
        id: StoredUuid,
        user_id: StoredUuid,
        event_type: String,
        changed_fields: Option<String>,
        actor_kind: String,
        actor_name: Option<String>,
        session_id: Option<StoredUuid>,
        correlation_id: String,
        occurred_at: StoredTime,
    }
}
