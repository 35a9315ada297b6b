//! SQL types that mean the same on both databases.
//!
//! Each is one Diesel type with a representation for PostgreSQL and one for SQLite, so that there is one
//! `schema.rs` and one set of row structs.
//!
//! | type | Rust | PostgreSQL | SQLite |
//! |---|---|---|---|
//! | [`Uuid`] | [`StoredUuid`] | `uuid` | 16 bytes |
//! | [`UtcTimestamp`] | [`StoredTime`] | `timestamptz` | microseconds since 1970 |
//! | [`CalendarDate`] | [`StoredDate`] | `date` | text, `YYYY-MM-DD` |
//! | [`AuthProviderType`] | [`AuthProvider`] | `auth_provider` | text |

use chrono::{DateTime, NaiveDate, Utc};
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::query_builder::QueryId;
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types as diesel_types;
use diesel::sql_types::SqlType;
use diesel::sqlite::{Sqlite, SqliteValue};

use crate::domain::UserId;

/// A UUID.
#[derive(Debug, Clone, Copy, Default, SqlType, QueryId)]
#[diesel(postgres_type(oid = 2950, array_oid = 2951))]
#[diesel(sqlite_type(name = "Binary"))]
pub struct Uuid;

/// A point in time, in UTC with microseconds.
#[derive(Debug, Clone, Copy, Default, SqlType, QueryId)]
#[diesel(postgres_type(oid = 1184, array_oid = 1185))]
#[diesel(sqlite_type(name = "Long"))]
pub struct UtcTimestamp;

/// A calendar date.
#[derive(Debug, Clone, Copy, Default, SqlType, QueryId)]
#[diesel(postgres_type(oid = 1082, array_oid = 1182))]
#[diesel(sqlite_type(name = "Text"))]
pub struct CalendarDate;

/// How an account began.
#[derive(Debug, Clone, Copy, Default, SqlType, QueryId)]
#[diesel(postgres_type(name = "auth_provider"))]
#[diesel(sqlite_type(name = "Text"))]
pub struct AuthProviderType;

/// The values of [`AuthProviderType`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, AsExpression, FromSqlRow)]
#[diesel(sql_type = AuthProviderType)]
pub(crate) enum AuthProvider {
    Password,
    Google,
    Apple,
    Oidc,
}

impl AuthProvider {
    const ALL: [Self; 4] = [Self::Password, Self::Google, Self::Apple, Self::Oidc];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Google => "google",
            Self::Apple => "apple",
            Self::Oidc => "oidc",
        }
    }

    fn parse(text: &str) -> deserialize::Result<Self> {
        Self::ALL
            .into_iter()
            .find(|provider| provider.as_str() == text)
            .ok_or_else(|| "an auth_provider this version does not know".into())
    }
}

/// A value of [`Uuid`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, AsExpression, FromSqlRow)]
#[diesel(sql_type = Uuid)]
pub(crate) struct StoredUuid(pub(crate) uuid::Uuid);

/// A value of [`UtcTimestamp`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, AsExpression, FromSqlRow)]
#[diesel(sql_type = UtcTimestamp)]
pub(crate) struct StoredTime(pub(crate) DateTime<Utc>);

/// A value of [`CalendarDate`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, AsExpression, FromSqlRow)]
#[diesel(sql_type = CalendarDate)]
pub(crate) struct StoredDate(pub(crate) NaiveDate);

impl From<UserId> for StoredUuid {
    fn from(id: UserId) -> Self {
        Self(id.uuid())
    }
}

impl FromSql<Uuid, Pg> for StoredUuid {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        FromSql::<diesel_types::Uuid, Pg>::from_sql(value).map(Self)
    }
}

impl ToSql<Uuid, Pg> for StoredUuid {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        ToSql::<diesel_types::Uuid, Pg>::to_sql(&self.0, out)
    }
}

impl FromSql<Uuid, Sqlite> for StoredUuid {
    fn from_sql(value: SqliteValue<'_, '_, '_>) -> deserialize::Result<Self> {
        let bytes = <Vec<u8> as FromSql<diesel_types::Binary, Sqlite>>::from_sql(value)?;
        Ok(Self(uuid::Uuid::from_slice(&bytes)?))
    }
}

impl ToSql<Uuid, Sqlite> for StoredUuid {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
        out.set_value(self.0.as_bytes().as_slice());
        Ok(IsNull::No)
    }
}

impl FromSql<UtcTimestamp, Pg> for StoredTime {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        FromSql::<diesel_types::Timestamptz, Pg>::from_sql(value).map(Self)
    }
}

impl ToSql<UtcTimestamp, Pg> for StoredTime {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        ToSql::<diesel_types::Timestamptz, Pg>::to_sql(&self.0, out)
    }
}

impl FromSql<UtcTimestamp, Sqlite> for StoredTime {
    fn from_sql(value: SqliteValue<'_, '_, '_>) -> deserialize::Result<Self> {
        let microseconds = <i64 as FromSql<diesel_types::BigInt, Sqlite>>::from_sql(value)?;
        DateTime::from_timestamp_micros(microseconds)
            .map(Self)
            .ok_or_else(|| "a time outside the range of the calendar".into())
    }
}

impl ToSql<UtcTimestamp, Sqlite> for StoredTime {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
        out.set_value(self.0.timestamp_micros());
        Ok(IsNull::No)
    }
}

impl FromSql<CalendarDate, Pg> for StoredDate {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        FromSql::<diesel_types::Date, Pg>::from_sql(value).map(Self)
    }
}

impl ToSql<CalendarDate, Pg> for StoredDate {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        ToSql::<diesel_types::Date, Pg>::to_sql(&self.0, out)
    }
}

impl FromSql<CalendarDate, Sqlite> for StoredDate {
    fn from_sql(value: SqliteValue<'_, '_, '_>) -> deserialize::Result<Self> {
        let text = <String as FromSql<diesel_types::Text, Sqlite>>::from_sql(value)?;
        Ok(Self(NaiveDate::parse_from_str(&text, "%Y-%m-%d")?))
    }
}

impl ToSql<CalendarDate, Sqlite> for StoredDate {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
        out.set_value(self.0.format("%Y-%m-%d").to_string());
        Ok(IsNull::No)
    }
}

impl FromSql<AuthProviderType, Pg> for AuthProvider {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        Self::parse(std::str::from_utf8(value.as_bytes())?)
    }
}

impl ToSql<AuthProviderType, Pg> for AuthProvider {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        std::io::Write::write_all(out, self.as_str().as_bytes())?;
        Ok(IsNull::No)
    }
}

impl FromSql<AuthProviderType, Sqlite> for AuthProvider {
    fn from_sql(value: SqliteValue<'_, '_, '_>) -> deserialize::Result<Self> {
        let text = <String as FromSql<diesel_types::Text, Sqlite>>::from_sql(value)?;
        Self::parse(&text)
    }
}

impl ToSql<AuthProviderType, Sqlite> for AuthProvider {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
        out.set_value(self.as_str());
        Ok(IsNull::No)
    }
}
