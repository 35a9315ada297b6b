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
//! | [`IpAddressType`] | [`StoredIp`] | `inet` | text |
//! | `Text` | [`StoredName`] | `text` | text |

use std::io::Write as _;
use std::net::IpAddr;

use chrono::{DateTime, NaiveDate, Utc};
use diesel::backend::Backend;
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::query_builder::QueryId;
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types as diesel_types;
use diesel::sql_types::SqlType;
use diesel::sqlite::{Sqlite, SqliteValue};

use crate::domain::{
    ActorKind, LoginFailure, OAuthAccountId, OneTimeTokenPurpose, ServiceTokenId, SessionEndReason,
    SessionId, SignInMethod, UserEventType, UserId,
};

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

/// The address of a machine.
#[derive(Debug, Clone, Copy, Default, SqlType, QueryId)]
#[diesel(postgres_type(oid = 869, array_oid = 1041))]
#[diesel(sqlite_type(name = "Text"))]
pub struct IpAddressType;

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

    pub(crate) const fn as_str(self) -> &'static str {
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

/// A value of [`IpAddressType`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, AsExpression, FromSqlRow)]
#[diesel(sql_type = IpAddressType)]
pub(crate) struct StoredIp(pub(crate) IpAddr);

/// A value of an enum, stored as its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, AsExpression, FromSqlRow)]
#[diesel(sql_type = diesel_types::Text)]
pub(crate) struct StoredName<T: Named>(pub(crate) T);

/// An enum whose values have names in the database.
pub(crate) trait Named: std::fmt::Debug + Copy + 'static {
    /// Every value with its name.
    const NAMES: &'static [(Self, &'static str)];

    /// Returns the name of a value.
    fn name(self) -> &'static str;
}

/// Names the values of an enum. The compiler sees to it that none is forgotten.
macro_rules! names {
    ($type:ident { $($value:ident => $name:literal),+ $(,)? }) => {
        impl Named for $type {
            const NAMES: &'static [(Self, &'static str)] = &[$((Self::$value, $name)),+];

            fn name(self) -> &'static str {
                match self {
                    $(Self::$value => $name),+
                }
            }
        }
    };
}

names!(SignInMethod {
    Password => "password",
    IdToken => "id_token",
    RefreshToken => "refresh_token",
});

names!(SessionEndReason {
    SignedOut => "signed_out",
    Revoked => "revoked",
    UserBlocked => "user_blocked",
    UserDeactivated => "user_deactivated",
    PasswordChanged => "password_changed",
    TokenReused => "token_reused",
    SessionLimit => "session_limit",
});

names!(LoginFailure {
    UnknownUser => "unknown_user",
    NoPassword => "no_password",
    WrongPassword => "wrong_password",
    UserBlocked => "user_blocked",
    UserInactive => "user_inactive",
    TokenReused => "token_reused",
    WrongClient => "wrong_client",
});

names!(UserEventType {
    UserCreated => "user_created",
    UserUpdated => "user_updated",
    UserDeactivated => "user_deactivated",
    UserReactivated => "user_reactivated",
    UserBlocked => "user_blocked",
    UserUnblocked => "user_unblocked",
    UserDeleted => "user_deleted",
    PasswordSet => "password_set",
    PasswordChanged => "password_changed",
    PasswordReset => "password_reset",
    PasswordRemoved => "password_removed",
    EmailVerified => "email_verified",
    SessionsRevoked => "sessions_revoked",
    RefreshTokenReused => "refresh_token_reused",
    LockoutCleared => "lockout_cleared",
    OAuthAccountLinked => "oauth_account_linked",
    OAuthAccountUnlinked => "oauth_account_unlinked",
});

names!(ActorKind {
    Anonymous => "anonymous",
    Service => "service",
    Certificate => "certificate",
    User => "user",
    Operator => "operator",
    System => "system",
});

names!(OneTimeTokenPurpose {
    PasswordReset => "password_reset",
    EmailVerification => "email_verification",
});

impl From<UserId> for StoredUuid {
    fn from(id: UserId) -> Self {
        Self(id.uuid())
    }
}

impl From<ServiceTokenId> for StoredUuid {
    fn from(id: ServiceTokenId) -> Self {
        Self(id.uuid())
    }
}

impl From<OAuthAccountId> for StoredUuid {
    fn from(id: OAuthAccountId) -> Self {
        Self(id.uuid())
    }
}

impl From<SessionId> for StoredUuid {
    fn from(id: SessionId) -> Self {
        Self(id.uuid())
    }
}

impl<T, DB> FromSql<diesel_types::Text, DB> for StoredName<T>
where
    T: Named,
    DB: Backend,
    String: FromSql<diesel_types::Text, DB>,
{
    fn from_sql(value: DB::RawValue<'_>) -> deserialize::Result<Self> {
        let text = String::from_sql(value)?;
        T::NAMES
            .iter()
            .find(|(_, name)| *name == text)
            .map(|(named, _)| Self(*named))
            .ok_or_else(|| "a name this version does not know".into())
    }
}

impl<T, DB> ToSql<diesel_types::Text, DB> for StoredName<T>
where
    T: Named,
    DB: Backend,
    str: ToSql<diesel_types::Text, DB>,
{
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, DB>) -> serialize::Result {
        self.0.name().to_sql(out)
    }
}

/// What PostgreSQL calls the families of addresses in the binary form of `inet`.
const FAMILY_V4: u8 = 2;
const FAMILY_V6: u8 = 3;

impl FromSql<IpAddressType, Pg> for StoredIp {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        // Family, bits of the network, whether it is a `cidr`, number of bytes, bytes.
        match value.as_bytes() {
            [FAMILY_V4, _, _, _, address @ ..] => Ok(Self(<[u8; 4]>::try_from(address)?.into())),
            [FAMILY_V6, _, _, _, address @ ..] => Ok(Self(<[u8; 16]>::try_from(address)?.into())),
            _ => Err("an address of a family this version does not know".into()),
        }
    }
}

impl ToSql<IpAddressType, Pg> for StoredIp {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        const NOT_CIDR: u8 = 0;
        match self.0 {
            IpAddr::V4(address) => {
                out.write_all(&[FAMILY_V4, 32, NOT_CIDR, 4])?;
                out.write_all(&address.octets())?;
            }
            IpAddr::V6(address) => {
                out.write_all(&[FAMILY_V6, 128, NOT_CIDR, 16])?;
                out.write_all(&address.octets())?;
            }
        }
        Ok(IsNull::No)
    }
}

impl FromSql<IpAddressType, Sqlite> for StoredIp {
    fn from_sql(value: SqliteValue<'_, '_, '_>) -> deserialize::Result<Self> {
        let text = <String as FromSql<diesel_types::Text, Sqlite>>::from_sql(value)?;
        Ok(Self(text.parse()?))
    }
}

impl ToSql<IpAddressType, Sqlite> for StoredIp {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
        out.set_value(self.0.to_string());
        Ok(IsNull::No)
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
        out.write_all(self.as_str().as_bytes())?;
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
