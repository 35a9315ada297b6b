//! What is read from the tables and written to them.

use chrono::{DateTime, Utc};
use diesel::prelude::{AsChangeset, Insertable, Queryable, Selectable};
use uuid::Uuid;

use super::schema::tasks;
use super::sql_types::{StoredTime, StoredUuid};
use crate::access_tokens::UserId;

/// A task, as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = tasks)]
pub(crate) struct Task {
    #[diesel(deserialize_as = StoredUuid)]
    pub(crate) id: Uuid,
    pub(crate) title: String,
    pub(crate) done: bool,
    #[diesel(deserialize_as = StoredTime)]
    pub(crate) created_at: DateTime<Utc>,
    #[diesel(deserialize_as = StoredTime)]
    pub(crate) updated_at: DateTime<Utc>,
}

/// A task to write.
#[derive(Debug, Insertable)]
#[diesel(table_name = tasks)]
pub(crate) struct NewTask {
    id: StoredUuid,
    title: String,
    done: bool,
    user_id: StoredUuid,
    created_at: StoredTime,
    updated_at: StoredTime,
}

impl NewTask {
    /// Describes a task that somebody creates now.
    pub(crate) fn new(owner: UserId, title: String, done: bool, now: DateTime<Utc>) -> Self {
        Self {
            id: StoredUuid(Uuid::now_v7()),
            title,
            done,
            user_id: owner.into(),
            created_at: StoredTime(now),
            updated_at: StoredTime(now),
        }
    }
}

/// What is to be changed of a task; what is `None` stays as it is.
#[derive(Debug, AsChangeset)]
#[diesel(table_name = tasks)]
pub(crate) struct TaskChange {
    title: Option<String>,
    done: Option<bool>,
    updated_at: StoredTime,
}

impl TaskChange {
    /// Describes a change that is made now.
    pub(crate) const fn new(title: Option<String>, done: Option<bool>, now: DateTime<Utc>) -> Self {
        Self {
            title,
            done,
            updated_at: StoredTime(now),
        }
    }
}

/// A place in a list: that of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) id: Uuid,
}

impl From<&Task> for Position {
    fn from(task: &Task) -> Self {
        Self {
            created_at: task.created_at,
            id: task.id,
        }
    }
}

/// What has become of users.
#[derive(Debug, Default)]
pub(crate) struct Departures {
    /// Those who are gone.
    pub(crate) gone: Vec<Uuid>,
    /// Those whose id was given again.
    pub(crate) returned: Vec<Uuid>,
}

impl Departures {
    /// Users are gone.
    pub(crate) const fn of(gone: Vec<Uuid>) -> Self {
        Self {
            gone,
            returned: Vec::new(),
        }
    }

    /// A user is there, perhaps with the id of one who was gone.
    pub(crate) fn returned(user_id: Uuid) -> Self {
        Self {
            gone: Vec::new(),
            returned: vec![user_id],
        }
    }
}

impl From<UserId> for StoredUuid {
    fn from(id: UserId) -> Self {
        Self(id.uuid())
    }
}
