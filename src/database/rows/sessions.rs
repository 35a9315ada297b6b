//! Rows of `sessions` and `refresh_tokens`.

use diesel::prelude::{AsChangeset, Insertable, Queryable, Selectable};

use crate::database::schema::{refresh_tokens, sessions};
use crate::database::sql_types::{
    AuthProvider as AuthProviderColumn, StoredIp, StoredName, StoredTime, StoredUuid,
};
use crate::domain::{
    AuthProvider, Client, ClientId, NewRefreshToken, RefreshToken, Session, SessionEndReason, SessionId,
    SignInMethod, UserAgent, UserId, new_uuid,
};

/// A row of `sessions`.
#[derive(Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = sessions)]
#[diesel(treat_none_as_null = true)]
#[diesel(treat_none_as_default_value = false)]
pub(crate) struct SessionRow {
    id: StoredUuid,
    user_id: StoredUuid,
    client_id: String,
    method: StoredName<SignInMethod>,
    provider: Option<AuthProviderColumn>,
    user_agent: Option<String>,
    ip_address: Option<StoredIp>,
    generation: i64,
    last_refresh_at: StoredTime,
    idle_expires_at: StoredTime,
    expires_at: StoredTime,
    revoked_at: Option<StoredTime>,
    revoke_reason: Option<StoredName<SessionEndReason>>,
    created_at: StoredTime,
}

impl From<SessionRow> for Session {
    fn from(row: SessionRow) -> Self {
        Self {
            id: SessionId::from_stored(row.id.0),
            user_id: UserId::from_stored(row.user_id.0),
            method: row.method.0,
            provider: row.provider.map(AuthProvider::from),
            client: Client {
                ip_address: row.ip_address.map(|address| address.0),
                user_agent: row.user_agent.map(UserAgent::from_stored),
                client_id: ClientId::from_stored(row.client_id),
            },
            generation: row.generation,
            last_refresh_at: row.last_refresh_at.0,
            idle_expires_at: row.idle_expires_at.0,
            expires_at: row.expires_at.0,
            ended: row
                .revoked_at
                .zip(row.revoke_reason)
                .map(|(time, reason)| (time.0, reason.0)),
            created_at: row.created_at.0,
        }
    }
}

impl From<&Session> for SessionRow {
    fn from(session: &Session) -> Self {
        let Client {
            ip_address,
            user_agent,
            client_id,
        } = &session.client;
        Self {
            id: session.id.into(),
            user_id: session.user_id.into(),
            client_id: client_id.as_str().to_owned(),
            method: StoredName(session.method),
            provider: session.provider.map(AuthProviderColumn::from),
            user_agent: user_agent.as_ref().map(|agent| agent.as_str().to_owned()),
            ip_address: ip_address.map(StoredIp),
            generation: session.generation,
            last_refresh_at: StoredTime(session.last_refresh_at),
            idle_expires_at: StoredTime(session.idle_expires_at),
            expires_at: StoredTime(session.expires_at),
            revoked_at: session.ended.map(|(time, _)| StoredTime(time)),
            revoke_reason: session.ended.map(|(_, reason)| StoredName(reason)),
            created_at: StoredTime(session.created_at),
        }
    }
}

/// A row of `refresh_tokens`.
#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = refresh_tokens)]
#[diesel(treat_none_as_default_value = false)]
pub(crate) struct RefreshTokenRow {
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

impl From<&NewRefreshToken> for RefreshTokenRow {
    fn from(token: &NewRefreshToken) -> Self {
        Self {
            id: StoredUuid(new_uuid(token.created_at)),
            session_id: token.session.id.into(),
            user_id: token.session.user_id.into(),
            generation: token.session.generation,
            token_hash: token.token_hash.to_vec(),
            expires_at: StoredTime(token.session.idle_expires_at),
            used_at: None,
            revoked_at: None,
            user_agent: token
                .client
                .user_agent
                .as_ref()
                .map(|agent| agent.as_str().to_owned()),
            ip_address: token.client.ip_address.map(StoredIp),
            created_at: StoredTime(token.created_at),
        }
    }
}

impl From<RefreshTokenRow> for RefreshToken {
    fn from(row: RefreshTokenRow) -> Self {
        Self {
            id: row.id.0,
            session_id: SessionId::from_stored(row.session_id.0),
            user_id: UserId::from_stored(row.user_id.0),
            generation: row.generation,
            // The database sees to the length.
            token_hash: row.token_hash.try_into().unwrap_or_default(),
            expires_at: row.expires_at.0,
            used_at: row.used_at.map(|time| time.0),
            revoked_at: row.revoked_at.map(|time| time.0),
            user_agent: row.user_agent.map(UserAgent::from_stored),
            ip_address: row.ip_address.map(|address| address.0),
            created_at: row.created_at.0,
        }
    }
}
