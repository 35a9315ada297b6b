//! The tables of this service.

diesel::table! {
    use diesel::sql_types::{Bool, Nullable, Text};
    use crate::database::sql_types::{UtcTimestamp, Uuid};

    tasks (id) {
        id -> Uuid,
        title -> Text,
        done -> Bool,
        user_id -> Nullable<Uuid>,
        created_at -> UtcTimestamp,
        updated_at -> UtcTimestamp,
    }
}

diesel::table! {
    use diesel::sql_types::{Integer, Text};

    user_watch (id) {
        id -> Integer,
        resume_token -> Text,
    }
}

diesel::table! {
    use crate::database::sql_types::{UtcTimestamp, Uuid};

    departed_users (user_id) {
        user_id -> Uuid,
        noted_at -> UtcTimestamp,
    }
}

diesel::table! {
    use diesel::sql_types::Text;
    use crate::database::sql_types::UtcTimestamp;

    tasks_migrations (name) {
        name -> Text,
        applied_at -> UtcTimestamp,
    }
}

diesel::allow_tables_to_appear_in_same_query!(departed_users, tasks);
