//! Returns how the server is doing.

use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::ServerStatus;
use crate::database::DatabaseKind;
use crate::database::migrations::MigrationStatus as Migrations;
use crate::grpc::call::CallContext;
use crate::grpc::convert::time_to_proto;
use crate::proto::identity::v1::{
    DatabaseKind as KindMessage, DatabaseStatus, GetStatusResponse, HashingStatus, MigrationStatus,
    PoolStatus,
};

pub(super) async fn get_status(status: &ServerStatus, context: &CallContext) -> GetStatusResponse {
    let uptime = (context.now - status.started_at).to_std().unwrap_or_default();
    let hashing = status.hasher.status();
    GetStatusResponse {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        start_time: Some(time_to_proto(status.started_at)),
        uptime: prost_types::Duration::try_from(uptime).ok(),
        database: Some(database(status)),
        pools: pools(status),
        migrations: migrations(status).await,
        hashing: Some(HashingStatus {
            concurrency: to_i32(hashing.concurrency),
            running: to_i32(hashing.running),
            waiting: to_i32(hashing.waiting),
            capacity: to_i32(hashing.capacity),
        }),
    }
}

fn database(status: &ServerStatus) -> DatabaseStatus {
    let report = status.health.report();
    let kind = match status.database.kind() {
        DatabaseKind::Postgres => KindMessage::Postgresql,
        DatabaseKind::Sqlite => KindMessage::Sqlite,
    };
    DatabaseStatus {
        kind: kind.into(),
        connected: report.is_connected,
        latency: report
            .latency
            .and_then(|latency| prost_types::Duration::try_from(latency).ok()),
        probe_time: report.probed_at.map(time_to_proto),
    }
}

fn pools(status: &ServerStatus) -> Vec<PoolStatus> {
    let pools = status.database.pool_status();
    pools
        .into_iter()
        .map(|pool| PoolStatus {
            name: pool.name.to_owned(),
            max_size: to_i32(pool.max_size),
            size: to_i32(pool.size),
            idle: to_i32(pool.idle),
            waiting: to_i32(pool.waiting),
        })
        .collect()
}

/// Absent while the database does not answer.
async fn migrations(status: &ServerStatus) -> Option<MigrationStatus> {
    /// Reading them takes a connection outside the pool, so callers share one look at them for a while.
    const MAX_AGE: Duration = Duration::from_secs(5);
    /// The rest of the status is worth most while the database is in trouble, and must not wait for it.
    const PATIENCE: Duration = Duration::from_secs(1);
    if !status.health.report().is_connected {
        return None;
    }
    let reading = timeout(PATIENCE, migrations_not_older_than(status, MAX_AGE));
    reading.await.unwrap_or_default()
}

async fn migrations_not_older_than(status: &ServerStatus, max_age: Duration) -> Option<MigrationStatus> {
    let mut last = status.migrations.lock().await;
    if let Some((read_at, migrations)) = last.as_ref()
        && read_at.elapsed() < max_age
    {
        return Some(to_message(migrations));
    }
    match status.database.migration_status().await {
        Ok(migrations) => {
            let message = to_message(&migrations);
            *last = Some((Instant::now(), migrations));
            Some(message)
        }
        Err(error) => {
            tracing::warn!(%error, "the migrations cannot be read");
            None
        }
    }
}

fn to_message(migrations: &Migrations) -> MigrationStatus {
    MigrationStatus {
        applied: migrations.applied.iter().map(|one| one.name.clone()).collect(),
        pending: migrations.pending.clone(),
    }
}

/// A count for a message; more than fits there are never so many.
fn to_i32(count: impl TryInto<i32>) -> i32 {
    count.try_into().unwrap_or(i32::MAX)
}
