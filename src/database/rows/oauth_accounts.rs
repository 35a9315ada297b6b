//! Rows of `oauth_accounts`.

use diesel::prelude::{Insertable, Queryable, Selectable};

use crate::database::schema::oauth_accounts;
use crate::database::sql_types::{StoredTime, StoredUuid};
use crate::domain::{AccountKey, OAuthAccount, OAuthAccountId, ProviderName, Subject, UserId};

/// A row of `oauth_accounts`.
#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = oauth_accounts)]
#[diesel(treat_none_as_default_value = false)]
pub(crate) struct OAuthAccountRow {
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

impl From<OAuthAccountRow> for OAuthAccount {
    fn from(row: OAuthAccountRow) -> Self {
        Self {
            id: OAuthAccountId::from_stored(row.id.0),
            user_id: UserId::from_stored(row.user_id.0),
            provider: ProviderName::from_stored(row.provider),
            key: AccountKey {
                issuer: row.issuer,
                subject: Subject::from_stored(row.subject),
            },
            email: row.email,
            email_verified: row.email_verified,
            last_sign_in_at: row.last_sign_in_at.map(|time| time.0),
            created_at: row.created_at.0,
            updated_at: row.updated_at.0,
        }
    }
}

impl From<&OAuthAccount> for OAuthAccountRow {
    fn from(account: &OAuthAccount) -> Self {
        Self {
            id: account.id.into(),
            user_id: account.user_id.into(),
            provider: account.provider.as_str().to_owned(),
            issuer: account.key.issuer.clone(),
            subject: account.key.subject.as_str().to_owned(),
            email: account.email.clone(),
            email_verified: account.email_verified,
            last_sign_in_at: account.last_sign_in_at.map(StoredTime),
            created_at: StoredTime(account.created_at),
            updated_at: StoredTime(account.updated_at),
        }
    }
}
