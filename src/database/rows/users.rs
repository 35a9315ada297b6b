//! Rows of `users`.

use diesel::prelude::{AsChangeset, Insertable, Queryable, Selectable};

use crate::database::schema::users;
use crate::database::sql_types::{
    AuthProvider as AuthProviderColumn, StoredDate, StoredTime, StoredUuid,
};
use crate::domain::{
    AuthProvider, BirthDate, BlockReason, Email, FullName, ImportedPasswordHash, PasswordHash, Profile,
    User, UserId, Username,
};

/// A row of `users`.
#[derive(Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = users)]
#[diesel(treat_none_as_null = true)]
#[diesel(treat_none_as_default_value = false)]
pub(crate) struct UserRow {
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
    auth_provider: Option<AuthProviderColumn>,
    is_active: bool,
    is_blocked: bool,
    block_reason: Option<String>,
    tokens_valid_after: Option<StoredTime>,
    version: i64,
    created_at: StoredTime,
    updated_at: StoredTime,
    imported_password_hash: Option<String>,
}

impl UserRow {
    /// Returns the id of the user.
    pub(crate) const fn id(&self) -> StoredUuid {
        self.id
    }
}

impl From<UserRow> for User {
    fn from(row: UserRow) -> Self {
        Self {
            id: UserId::from_stored(row.id.0),
            profile: Profile {
                email: row
                    .email
                    .zip(row.email_normalized)
                    .map(|(typed, normalized)| Email::from_stored(typed, normalized)),
                username: row
                    .username
                    .zip(row.username_normalized)
                    .map(|(typed, normalized)| Username::from_stored(typed, normalized)),
                full_name: row.full_name.map(FullName::from_stored),
                birth_date: row.birth_date.map(|date| BirthDate::from_stored(date.0)),
            },
            email_verified_at: row.email_verified_at.map(|time| time.0),
            password_hash: row.password_hash.map(PasswordHash::new),
            imported_password: row.imported_password_hash.map(ImportedPasswordHash::from_stored),
            password_changed_at: row.password_changed_at.map(|time| time.0),
            auth_provider: row.auth_provider.map(AuthProvider::from),
            is_active: row.is_active,
            is_blocked: row.is_blocked,
            block_reason: row.block_reason.map(BlockReason::from_stored),
            tokens_valid_after: row.tokens_valid_after.map(|time| time.0),
            version: row.version,
            created_at: row.created_at.0,
            updated_at: row.updated_at.0,
        }
    }
}

impl From<&User> for UserRow {
    fn from(user: &User) -> Self {
        let Profile {
            email,
            username,
            full_name,
            birth_date,
        } = &user.profile;
        Self {
            id: user.id.into(),
            email: email.as_ref().map(|email| email.as_str().to_owned()),
            email_normalized: email.as_ref().map(|email| email.normalized().to_owned()),
            email_verified_at: user.email_verified_at.map(StoredTime),
            username: username.as_ref().map(|name| name.as_str().to_owned()),
            username_normalized: username.as_ref().map(|name| name.normalized().to_owned()),
            full_name: full_name.as_ref().map(|name| name.as_str().to_owned()),
            birth_date: birth_date.map(|date| StoredDate(date.date())),
            password_hash: user.password_hash.as_ref().map(|hash| hash.reveal().to_owned()),
            password_changed_at: user.password_changed_at.map(StoredTime),
            auth_provider: user.auth_provider.map(AuthProviderColumn::from),
            is_active: user.is_active,
            is_blocked: user.is_blocked,
            block_reason: user
                .block_reason
                .as_ref()
                .map(|reason| reason.as_str().to_owned()),
            tokens_valid_after: user.tokens_valid_after.map(StoredTime),
            version: user.version,
            created_at: StoredTime(user.created_at),
            updated_at: StoredTime(user.updated_at),
            imported_password_hash: user
                .imported_password
                .as_ref()
                .map(|hash| hash.reveal().to_owned()),
        }
    }
}

impl From<AuthProviderColumn> for AuthProvider {
    fn from(column: AuthProviderColumn) -> Self {
        match column {
            AuthProviderColumn::Password => Self::Password,
            AuthProviderColumn::Google => Self::Google,
            AuthProviderColumn::Apple => Self::Apple,
            AuthProviderColumn::Oidc => Self::Oidc,
        }
    }
}

impl From<AuthProvider> for AuthProviderColumn {
    fn from(provider: AuthProvider) -> Self {
        match provider {
            AuthProvider::Password => Self::Password,
            AuthProvider::Google => Self::Google,
            AuthProvider::Apple => Self::Apple,
            AuthProvider::Oidc => Self::Oidc,
        }
    }
}
