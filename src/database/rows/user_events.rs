//! Rows of `user_events`.

use diesel::prelude::{Insertable, Queryable, Selectable};

use crate::database::schema::user_events;
use crate::database::sql_types::{StoredName, StoredTime, StoredUuid};
use crate::domain::{
    ActorKind, CorrelationId, NewUserEvent, RecordedActor, SessionId, UserEvent, UserEventType,
    UserField, UserId, new_uuid,
};

/// What separates the names of fields.
const SEPARATOR: &str = " ";

/// A row of `user_events`.
#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = user_events)]
#[diesel(treat_none_as_default_value = false)]
pub(crate) struct UserEventRow {
    id: StoredUuid,
    user_id: StoredUuid,
    event_type: StoredName<UserEventType>,
    changed_fields: Option<String>,
    actor_kind: StoredName<ActorKind>,
    actor_name: Option<String>,
    session_id: Option<StoredUuid>,
    correlation_id: String,
    occurred_at: StoredTime,
}

impl From<&NewUserEvent<'_>> for UserEventRow {
    fn from(event: &NewUserEvent<'_>) -> Self {
        let actor = RecordedActor::from(&event.origin.actor);
        let names: Vec<&str> = event.changed_fields.iter().map(|field| field.name()).collect();
        Self {
            id: StoredUuid(new_uuid(event.occurred_at)),
            user_id: event.user_id.into(),
            event_type: StoredName(event.event_type),
            changed_fields: (!names.is_empty()).then(|| names.join(SEPARATOR)),
            actor_kind: StoredName(actor.kind),
            actor_name: actor.name,
            session_id: event.session_id.map(StoredUuid::from),
            correlation_id: event.origin.correlation_id.as_str().to_owned(),
            occurred_at: StoredTime(event.occurred_at),
        }
    }
}

impl From<UserEventRow> for UserEvent {
    fn from(row: UserEventRow) -> Self {
        Self {
            id: row.id.0,
            user_id: UserId::from_stored(row.user_id.0),
            event_type: row.event_type.0,
            changed_fields: row
                .changed_fields
                .unwrap_or_default()
                .split(SEPARATOR)
                .filter_map(UserField::from_name)
                .collect(),
            actor: RecordedActor {
                kind: row.actor_kind.0,
                name: row.actor_name,
            },
            session_id: row.session_id.map(|id| SessionId::from_stored(id.0)),
            correlation_id: CorrelationId::from_stored(row.correlation_id),
            occurred_at: row.occurred_at.0,
        }
    }
}
