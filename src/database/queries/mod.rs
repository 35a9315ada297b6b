//! The queries, each written once.
//!
//! This folder is compiled twice, as a module of `postgres` and of `sqlite`. `super::Connection` is the
//! only difference; a query that has to be written differently is a function in those two modules.

pub(crate) mod imports;
pub(crate) mod lockouts;
pub(crate) mod login_attempts;
pub(crate) mod oauth_accounts;
pub(crate) mod one_time_tokens;
pub(crate) mod refresh_tokens;
pub(crate) mod request_ids;
pub(crate) mod service_tokens;
pub(crate) mod sessions;
pub(crate) mod sign_ins;
pub(crate) mod signing_keys;
pub(crate) mod user_events;
pub(crate) mod users;

use super::{
    Backend, COUNT_ATTEMPT, Connection, adopt_events, email_has_prefix, event_window, in_window,
    insert_free_users, insert_user_events, keep_user, lock_session, lock_session_with_user,
    lock_signing_keys, lock_user, lock_user_to_delete,
};
