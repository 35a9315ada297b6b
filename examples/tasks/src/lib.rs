//! Tasks that belong to users of the identity service: the worked example of a Rust service that uses it.
//!
//! | what a service needs | where it is |
//! |---|---|
//! | verifying access tokens offline | [`access_tokens`], [`signing_keys`] |
//! | taking the owner from the token, never from the request | `grpc/callers.rs` |
//! | rows that belong to users, in the same database or another one | `migrations`, `database` |
//! | deleting what belonged to users who are gone | `departed_users.rs` |

pub mod access_tokens;
pub mod config;
pub mod database;
mod departed_users;
mod grpc;
pub mod proto;
pub mod server;
pub mod signing_keys;

use std::sync::Arc;

use chrono::{DateTime, SubsecRound, Utc};

/// Tells the time: a parameter, so that tests can move it.
pub type Clock = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// Returns the clock of the machine, with the microseconds that both databases keep.
#[must_use]
pub fn system_clock() -> Clock {
    /// Digits after the second that PostgreSQL's `timestamptz` keeps.
    const MICROSECOND_DIGITS: u16 = 6;
    Arc::new(|| Utc::now().trunc_subsecs(MICROSECOND_DIGITS))
}
