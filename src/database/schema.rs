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
        imported_password_hash -> Nullable<Text>,
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
    use diesel::sql_types::{BigInt, Nullable, Text};
    use crate::database::sql_types::{AuthProviderType, IpAddressType, UtcTimestamp, Uuid};

    sessions (id) {
        id -> Uuid,
        user_id -> Uuid,
        client_id -> Text,
        method -> Text,
        provider -> Nullable<AuthProviderType>,
        user_agent -> Nullable<Text>,
        ip_address -> Nullable<IpAddressType>,
        generation -> BigInt,
        last_refresh_at -> UtcTimestamp,
        idle_expires_at -> UtcTimestamp,
        expires_at -> UtcTimestamp,
        revoked_at -> Nullable<UtcTimestamp>,
        revoke_reason -> Nullable<Text>,
        created_at -> UtcTimestamp,
        /// Made by the database of `idle_expires_at`.
        idle_expires_day -> UtcTimestamp,
    }
}

diesel::table! {
    use diesel::sql_types::{BigInt, Binary, Nullable, Text};
    use crate::database::sql_types::{IpAddressType, UtcTimestamp, Uuid};

    refresh_tokens (id) {
        id -> Uuid,
        session_id -> Uuid,
        user_id -> Uuid,
        generation -> BigInt,
        token_hash -> Binary,
        expires_at -> UtcTimestamp,
        used_at -> Nullable<UtcTimestamp>,
        revoked_at -> Nullable<UtcTimestamp>,
        user_agent -> Nullable<Text>,
        ip_address -> Nullable<IpAddressType>,
        created_at -> UtcTimestamp,
    }
}

diesel::table! {
    use diesel::sql_types::{Bool, Nullable, Text};
    use crate::database::sql_types::{IpAddressType, UtcTimestamp, Uuid};

    login_attempts (id) {
        id -> Uuid,
        user_id -> Nullable<Uuid>,
        identifier -> Nullable<Text>,
        ip_address -> Nullable<IpAddressType>,
        user_agent -> Nullable<Text>,
        method -> Text,
        success -> Bool,
        failure_reason -> Nullable<Text>,
        attempted_at -> UtcTimestamp,
    }
}

diesel::table! {
    use diesel::sql_types::{Binary, Integer, Nullable};
    use crate::database::sql_types::UtcTimestamp;

    lockouts (subject, network) {
        subject -> Binary,
        network -> Binary,
        failures -> Integer,
        counted_from -> UtcTimestamp,
        retry_at -> UtcTimestamp,
        last_success_at -> Nullable<UtcTimestamp>,
        updated_at -> UtcTimestamp,
    }
}

diesel::table! {
    use diesel::sql_types::{Binary, Nullable, Text};
    use crate::database::sql_types::UtcTimestamp;

    signing_keys (kid) {
        kid -> Text,
        algorithm -> Text,
        public_key -> Binary,
        private_key -> Binary,
        activates_at -> UtcTimestamp,
        retires_at -> Nullable<UtcTimestamp>,
        revoked_at -> Nullable<UtcTimestamp>,
        created_at -> UtcTimestamp,
    }
}

diesel::table! {
    use diesel::sql_types::{Binary, Nullable, Text};
    use crate::database::sql_types::{UtcTimestamp, Uuid};

    one_time_tokens (id) {
        id -> Uuid,
        user_id -> Uuid,
        purpose -> Text,
        token_hash -> Binary,
        email_normalized -> Nullable<Text>,
        expires_at -> UtcTimestamp,
        used_at -> Nullable<UtcTimestamp>,
        created_at -> UtcTimestamp,
    }
}

diesel::table! {
    use diesel::sql_types::{Binary, Nullable, Text};
    use crate::database::sql_types::{UtcTimestamp, Uuid};

    service_tokens (id) {
        id -> Uuid,
        name -> Text,
        token_hash -> Binary,
        scopes -> Text,
        expires_at -> Nullable<UtcTimestamp>,
        revoked_at -> Nullable<UtcTimestamp>,
        last_used_at -> Nullable<UtcTimestamp>,
        created_at -> UtcTimestamp,
    }
}

diesel::table! {
    use diesel::sql_types::{BigInt, Nullable, Text};
    use crate::database::sql_types::{UtcTimestamp, Uuid};

    /// The columns that say in which order events were written are set by the databases. PostgreSQL has another one.
    user_events (id) {
        id -> Uuid,
        sequence -> BigInt,
        user_id -> Uuid,
        #[sql_name = "type"]
        event_type -> Text,
        changed_fields -> Nullable<Text>,
        actor_kind -> Text,
        actor_name -> Nullable<Text>,
        session_id -> Nullable<Uuid>,
        correlation_id -> Text,
        occurred_at -> UtcTimestamp,
    }
}

diesel::table! {
    use diesel::sql_types::{Bool, Nullable, Text};
    use crate::database::sql_types::{UtcTimestamp, Uuid};

    oauth_accounts (id) {
        id -> Uuid,
        user_id -> Uuid,
        provider -> Text,
        issuer -> Text,
        subject -> Text,
        email -> Nullable<Text>,
        email_verified -> Bool,
        last_sign_in_at -> Nullable<UtcTimestamp>,
        created_at -> UtcTimestamp,
        updated_at -> UtcTimestamp,
    }
}

diesel::joinable!(oauth_accounts -> users (user_id));
diesel::allow_tables_to_appear_in_same_query!(oauth_accounts, users);
diesel::joinable!(sessions -> users (user_id));
diesel::allow_tables_to_appear_in_same_query!(sessions, signing_keys, users);
diesel::allow_tables_to_appear_in_same_query!(refresh_tokens, sessions);

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
