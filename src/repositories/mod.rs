//! What handlers and flows call to read and change what is stored; one file per aggregate.

/// The most rows that a purge deletes in one transaction: so few that nobody waits noticeably for it to end.
const PURGE_BATCH: i64 = 500;

/// Deletes in batches until there is nothing left to delete, and returns how many rows it was:
/// `purge!(self.database, sessions::purge, |batch| (now, batch))`.
macro_rules! purge {
    ($database:expr, $module:ident :: $query:ident, |$batch:ident| $arguments:expr) => {{
        let $batch = $crate::repositories::PURGE_BATCH;
        let mut purged = 0;
        loop {
            let deleted: usize = $crate::database::transaction!($database, $module::$query, $arguments)?;
            purged += deleted;
            if i64::try_from(deleted).unwrap_or(i64::MAX) < $batch {
                break Ok(purged);
            }
        }
    }};
}

mod lockouts;
mod login_attempts;
mod oauth_accounts;
mod one_time_tokens;
mod refresh_tokens;
mod request_ids;
mod service_tokens;
mod sessions;
mod signing_keys;
mod user_events;
mod users;

pub use lockouts::LockoutRepository;
pub use login_attempts::LoginAttemptRepository;
pub use oauth_accounts::OAuthAccountRepository;
pub use one_time_tokens::OneTimeTokenRepository;
pub use refresh_tokens::RefreshTokenRepository;
pub use request_ids::RequestIdRepository;
pub use service_tokens::ServiceTokenRepository;
pub use sessions::SessionRepository;
pub use signing_keys::SigningKeyRepository;
pub use user_events::UserEventRepository;
pub use users::UserRepository;
