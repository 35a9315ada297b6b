//! Rows of `login_attempts`.

use diesel::prelude::{Insertable, Queryable, Selectable};

use crate::database::schema::login_attempts;
use crate::database::sql_types::{StoredIp, StoredName, StoredTime, StoredUuid};
use crate::domain::{
    LoginAttempt, LoginFailure, NewLoginAttempt, SignInMethod, UserAgent, UserId, new_uuid,
};

/// A row of `login_attempts`.
#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = login_attempts)]
#[diesel(treat_none_as_default_value = false)]
pub(crate) struct LoginAttemptRow {
    id: StoredUuid,
    user_id: Option<StoredUuid>,
    identifier: Option<String>,
    ip_address: Option<StoredIp>,
    user_agent: Option<String>,
    method: StoredName<SignInMethod>,
    success: bool,
    failure_reason: Option<StoredName<LoginFailure>>,
    attempted_at: StoredTime,
}

impl From<&NewLoginAttempt> for LoginAttemptRow {
    fn from(attempt: &NewLoginAttempt) -> Self {
        Self {
            id: StoredUuid(new_uuid(attempt.attempted_at)),
            user_id: attempt.user_id.map(StoredUuid::from),
            identifier: attempt.identifier.clone(),
            ip_address: attempt.client.ip_address.map(StoredIp),
            user_agent: attempt
                .client
                .user_agent
                .as_ref()
                .map(|agent| agent.as_str().to_owned()),
            method: StoredName(attempt.method),
            success: attempt.failure.is_none(),
            failure_reason: attempt.failure.map(StoredName),
            attempted_at: StoredTime(attempt.attempted_at),
        }
    }
}

impl From<LoginAttemptRow> for LoginAttempt {
    fn from(row: LoginAttemptRow) -> Self {
        Self {
            id: row.id.0,
            user_id: row.user_id.map(|id| UserId::from_stored(id.0)),
            identifier: row.identifier,
            ip_address: row.ip_address.map(|address| address.0),
            user_agent: row.user_agent.map(UserAgent::from_stored),
            method: row.method.0,
            failure: row.failure_reason.map(|reason| reason.0),
            attempted_at: row.attempted_at.0,
        }
    }
}
