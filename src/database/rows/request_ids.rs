//! Rows of `request_ids`.

use diesel::prelude::{Insertable, Queryable, Selectable};

use crate::database::schema::request_ids;
use crate::database::sql_types::{StoredTime, StoredUuid};

/// A row of `request_ids`.
#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = request_ids)]
#[diesel(treat_none_as_default_value = false)]
pub(crate) struct RequestIdRow {
    pub(crate) caller: String,
    pub(crate) method: String,
    pub(crate) request_id: StoredUuid,
    pub(crate) fingerprint: Vec<u8>,
    pub(crate) user_id: StoredUuid,
    pub(crate) created_at: StoredTime,
    pub(crate) expires_at: StoredTime,
}
