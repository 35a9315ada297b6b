//! The tables as Diesel sees them: one description for both databases.

diesel::table! {
    use diesel::sql_types::{Bool, BigInt, Nullable, Text};
    use crate::database::sql_types::{AuthProviderType, CalendarDate, UtcTimestamp, Uuid};

    users (id) {
        id -> Uuid,
        email -> Nullable<Text>,
        email_normalized -> Nullable<Text>,
        email_verified_at -> Nullable<UtcTimestamp>,
        username -> Nullable<Text>,
        username_normalized -> Nullable<Text>,
        full_name -> Nullable<Text>,
        birth_date -> Nullable<CalendarDate>,
        password_hash -> Nullable<Text>,
        password_changed_at -> Nullable<UtcTimestamp>,
        auth_provider -> Nullable<AuthProviderType>,
        is_active -> Bool,
        is_blocked -> Bool,
        block_reason -> Nullable<Text>,
        tokens_valid_after -> Nullable<UtcTimestamp>,
        version -> BigInt,
        created_at -> UtcTimestamp,
        updated_at -> UtcTimestamp,
    }
}

diesel::table! {
    use diesel::sql_types::{Binary, Text};
    use crate::database::sql_types::{UtcTimestamp, Uuid};

    request_ids (caller, method, request_id) {
        caller -> Text,
        method -> Text,
        request_id -> Uuid,
        fingerprint -> Binary,
        user_id -> Uuid,
        created_at -> UtcTimestamp,
        expires_at -> UtcTimestamp,
    }
}

diesel::table! {
    use diesel::sql_types::Text;
    use crate::database::sql_types::UtcTimestamp;

    /// The texts of the applied migrations, as digests, so that an edited one is noticed.
    migration_checksums (version) {
        version -> Text,
        name -> Text,
        checksum -> Text,
        applied_at -> UtcTimestamp,
    }
}
