//! Rows as they are stored, and their conversion to and from the domain.

mod login_attempts;
mod oauth_accounts;
mod request_ids;
mod service_tokens;
mod sessions;
mod signing_keys;
mod user_events;
mod users;

pub(crate) use login_attempts::LoginAttemptRow;
pub(crate) use oauth_accounts::OAuthAccountRow;
pub(crate) use request_ids::RequestIdRow;
pub(crate) use service_tokens::{NewServiceTokenRow, ServiceTokenRow};
pub(crate) use sessions::{RefreshTokenRow, SessionRow};
pub(crate) use signing_keys::SigningKeyRow;
pub(crate) use user_events::UserEventRow;
pub(crate) use users::UserRow;
