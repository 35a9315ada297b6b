//! Queries of `lockouts`.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::{BoolExpressionMethods, ExpressionMethods, OptionalExtension, QueryDsl};
use diesel::sql_types::{BigInt, Binary, Integer, Nullable};
use diesel_async::RunQueryDsl;

use super::{COUNT_ATTEMPT, Connection, keep_user, user_events};
use crate::database::DatabaseError;
use crate::database::kept::Keep;
use crate::database::schema::lockouts;
use crate::database::sql_types::{StoredTime, UtcTimestamp};
use crate::domain::{
    ClearLockout, Command, Lockout, LockoutKey, LockoutPolicy, NewUserEvent, Refusal, Reservation,
    ReserveAttempt, UserEventType,
};

/// The network of the row that counts for all networks.
const ALL_NETWORKS: &[u8] = &[];

/// When failures lead to a wait, and how long it is.
struct Rule {
    /// The failures after which there is a wait.
    failures: i32,
    /// The first wait. It doubles with each further failure.
    first_delay: TimeDelta,
    /// The longest wait.
    max_delay: TimeDelta,
    /// How long failures count.
    memory: TimeDelta,
}

#[derive(diesel::QueryableByName)]
struct CountedAttempt {
    #[diesel(sql_type = Nullable<UtcTimestamp>)]
    last_success_at: Option<StoredTime>,
}

/// Counts an attempt before it is decided, or refuses it because too many failed.
pub(crate) async fn reserve(
    tx: &mut Connection,
    ReserveAttempt { key, policy, now }: &ReserveAttempt,
) -> Result<Reservation, DatabaseError> {
    let of_network = Rule {
        failures: policy.max_failures,
        first_delay: policy.window,
        max_delay: policy.window,
        memory: policy.window,
    };
    let last_success_at = count(tx, key, &key.network, &of_network, *now).await?;
    let is_known_network = last_success_at.is_some_and(|time| *now - time <= LockoutPolicy::KNOWN_FOR);
    if !is_known_network {
        let of_all = Rule {
            failures: policy.free_failures,
            first_delay: LockoutPolicy::FIRST_DELAY,
            max_delay: policy.max_delay,
            memory: LockoutPolicy::MEMORY,
        };
        count(tx, key, ALL_NETWORKS, &of_all, *now).await?;
    }
    Ok(Reservation {
        key: *key,
        is_known_network,
    })
}

/// Returns the latest time that a wait can end. A later one was written before the clock was set back, and holds
/// nobody up.
fn latest_wait(now: DateTime<Utc>, longest: TimeDelta) -> DateTime<Utc> {
    now + longest + LockoutPolicy::CLOCK_TOLERANCE
}

/// Counts an attempt in one row, and returns when the last one from there succeeded.
async fn count(
    tx: &mut Connection,
    key: &LockoutKey,
    network: &[u8],
    rule: &Rule,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, DatabaseError> {
    let microseconds = |span: TimeDelta| span.num_microseconds().unwrap_or(i64::MAX);
    let counted: Option<CountedAttempt> = diesel::sql_query(COUNT_ATTEMPT)
        .bind::<Binary, _>(key.subject.as_slice())
        .bind::<Binary, _>(network)
        .bind::<UtcTimestamp, _>(StoredTime(now))
        .bind::<UtcTimestamp, _>(StoredTime(now - rule.memory))
        .bind::<Integer, _>(rule.failures)
        .bind::<BigInt, _>(microseconds(rule.first_delay))
        .bind::<BigInt, _>(microseconds(rule.max_delay))
        .bind::<UtcTimestamp, _>(StoredTime(latest_wait(now, rule.max_delay)))
        .kept()
        .get_result(tx)
        .await
        .optional()?;
    if let Some(counted) = counted {
        return Ok(counted.last_success_at.map(|time| time.0));
    }
    let retry_at: StoredTime = lockouts::table
        .find((key.subject.as_slice(), network))
        .select(lockouts::retry_at)
        .first(tx)
        .await?;
    Err(Refusal::TooManyAttempts {
        retry_after: retry_at.0 - now,
    }
    .into())
}

/// Takes an attempt back that was counted but not decided.
pub(crate) async fn release(
    tx: &mut Connection,
    (reservation, now): &(Reservation, DateTime<Utc>),
) -> Result<(), DatabaseError> {
    take_back(tx, &reservation.key, &reservation.key.network, *now).await?;
    if !reservation.is_known_network {
        take_back(tx, &reservation.key, ALL_NETWORKS, *now).await?;
    }
    Ok(())
}

/// Forgets the failures of a network that somebody signed in from, and remembers the network. The failures from
/// everywhere else are somebody else's, and stay.
pub(crate) async fn succeed(
    tx: &mut Connection,
    (reservation, now): &(Reservation, DateTime<Utc>),
) -> Result<(), DatabaseError> {
    let now = *now;
    let key = &reservation.key;
    diesel::update(lockouts::table.find((key.subject.as_slice(), key.network.as_slice())))
        .set((
            lockouts::failures.eq(0),
            lockouts::counted_from.eq(StoredTime(now)),
            lockouts::retry_at.eq(StoredTime(now)),
            lockouts::last_success_at.eq(Some(StoredTime(now))),
            lockouts::updated_at.eq(StoredTime(now)),
        ))
        .kept()
        .execute(tx)
        .await?;
    if !reservation.is_known_network {
        take_back(tx, key, ALL_NETWORKS, now).await?;
    }
    Ok(())
}

async fn take_back(
    tx: &mut Connection,
    key: &LockoutKey,
    network: &[u8],
    now: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    let row = lockouts::table
        .find((key.subject.as_slice(), network))
        .filter(lockouts::failures.gt(0));
    diesel::update(row)
        .set((
            lockouts::failures.eq(lockouts::failures - 1),
            lockouts::retry_at.eq(StoredTime(now)),
            lockouts::updated_at.eq(StoredTime(now)),
        ))
        .kept()
        .execute(tx)
        .await?;
    Ok(())
}

/// Returns the state of the counters of a subject.
pub(crate) async fn get(
    connection: &mut Connection,
    (subject, policy, now): &([u8; 32], LockoutPolicy, DateTime<Utc>),
) -> Result<Lockout, DatabaseError> {
    let rows: Vec<(Vec<u8>, i32, StoredTime, StoredTime)> = lockouts::table
        .filter(lockouts::subject.eq(subject.as_slice()))
        .filter(lockouts::failures.gt(0))
        .select((
            lockouts::network,
            lockouts::failures,
            lockouts::counted_from,
            lockouts::retry_at,
        ))
        .load(connection)
        .await?;
    let mut lockout = Lockout::default();
    for (network, failures, counted_from, retry_at) in rows {
        let (limit, longest) = if network == ALL_NETWORKS {
            (policy.free_failures, policy.max_delay)
        } else {
            (policy.max_failures, policy.window)
        };
        let waits = failures >= limit && retry_at.0 > *now && retry_at.0 <= latest_wait(*now, longest);
        if network == ALL_NETWORKS {
            if *now - counted_from.0 < LockoutPolicy::MEMORY {
                lockout.failures = failures;
            }
            lockout.retry_at = waits.then_some(retry_at.0);
        } else if waits {
            lockout.locked_networks = lockout.locked_networks.saturating_add(1);
            lockout.networks_retry_at = lockout.networks_retry_at.max(Some(retry_at.0));
        }
    }
    Ok(lockout)
}

/// Forgets the failures of a subject, but not the networks it is known from.
pub(crate) async fn clear(
    tx: &mut Connection,
    Command {
        value: clear, origin, ..
    }: &Command<ClearLockout>,
) -> Result<(), DatabaseError> {
    // The user first, as everything else that locks both. One who has been deleted meanwhile has no more events.
    let user = match clear.user_id {
        Some(user_id) => keep_user(tx, user_id).await?,
        None => None,
    };
    let failed = lockouts::table
        .filter(lockouts::subject.eq(clear.subject.as_slice()))
        .filter(lockouts::failures.gt(0));
    let cleared = diesel::update(failed)
        .set((
            lockouts::failures.eq(0),
            lockouts::retry_at.eq(StoredTime(clear.now)),
            lockouts::updated_at.eq(StoredTime(clear.now)),
        ))
        .kept()
        .execute(tx)
        .await?;
    if let Some(user) = user.filter(|_| cleared > 0) {
        let event = NewUserEvent::new(user.id, UserEventType::LockoutCleared, origin, clear.now);
        user_events::record(tx, &event).await?;
    }
    Ok(())
}

/// Deletes rows that mean nothing any more, at most `batch` of them, and returns how many.
pub(crate) async fn purge(
    tx: &mut Connection,
    (now, batch): &(DateTime<Utc>, i64),
) -> Result<usize, DatabaseError> {
    let forgotten = StoredTime(*now - LockoutPolicy::MEMORY);
    let unknown = StoredTime(*now - LockoutPolicy::KNOWN_FOR);
    let rows: Vec<(Vec<u8>, Vec<u8>)> = lockouts::table
        .filter(lockouts::updated_at.lt(forgotten))
        .filter(
            lockouts::last_success_at
                .is_null()
                .or(lockouts::last_success_at.lt(unknown)),
        )
        .select((lockouts::subject, lockouts::network))
        .order(lockouts::updated_at)
        .limit(*batch)
        .load(tx)
        .await?;
    let mut deleted = 0;
    for (subject, network) in rows {
        deleted += diesel::delete(lockouts::table.find((subject, network)))
            .filter(lockouts::updated_at.lt(forgotten))
            .execute(tx)
            .await?;
    }
    Ok(deleted)
}
