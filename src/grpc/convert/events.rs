//! Conversions of events and of those who brought them about.

use super::{optional, time_to_proto};
use crate::domain::{
    ActorFilter, ActorKind, Invalid, RecordedActor, UserEvent, UserEventType, UserField, UserId,
};
use crate::grpc::violations::Violations;
use crate::proto::identity::v1 as proto;

/// Converts whose doings are asked for.
pub(in crate::grpc) fn actor_filter(
    field: &str,
    message: &proto::Actor,
    violations: &mut Violations,
) -> Option<ActorFilter> {
    let kind = actor_kind(message.kind).ok_or_else(|| Invalid::format("is not a kind of actor"));
    let kind = violations.take(&format!("{field}.kind"), kind);
    let parse = |text: &str| match kind {
        // However it is written.
        Some(ActorKind::User) => UserId::parse(text).map(|id| id.to_string()),
        _ => actor_name(text),
    };
    let name = violations.take(&format!("{field}.name"), optional(&message.name, parse));
    Some(ActorFilter {
        kind: kind?,
        name: name?,
    })
}

/// Accepts what can be on record.
fn actor_name(text: &str) -> Result<String, Invalid> {
    /// The width of the column.
    const MAX_CHARACTERS: usize = 255;
    if text.chars().count() > MAX_CHARACTERS {
        return Err(Invalid::too_long(MAX_CHARACTERS, "characters"));
    }
    if text.chars().any(char::is_control) {
        return Err(Invalid::format("must not contain control characters"));
    }
    Ok(text.to_owned())
}

/// Converts the types of events that are asked for.
pub(in crate::grpc) fn event_types(
    field: &str,
    numbers: &[i32],
    violations: &mut Violations,
) -> Option<Vec<UserEventType>> {
    /// One violation for each of them would make the answer larger than the request.
    const MAX_TYPES: usize = 32;
    if numbers.len() > MAX_TYPES {
        return violations.take(field, Err(Invalid::too_long(MAX_TYPES, "types")));
    }
    let types: Vec<Option<UserEventType>> = numbers
        .iter()
        .enumerate()
        .map(|(index, number)| {
            let known = event_type(*number).ok_or_else(|| Invalid::format("is not a type of event"));
            violations.take(&format!("{field}[{index}]"), known)
        })
        .collect();
    types.into_iter().collect()
}

fn event_type(number: i32) -> Option<UserEventType> {
    Some(match proto::UserEventType::try_from(number).ok()? {
        proto::UserEventType::Unspecified => return None,
        proto::UserEventType::UserCreated => UserEventType::UserCreated,
        proto::UserEventType::UserUpdated => UserEventType::UserUpdated,
        proto::UserEventType::UserDeactivated => UserEventType::UserDeactivated,
        proto::UserEventType::UserReactivated => UserEventType::UserReactivated,
        proto::UserEventType::UserBlocked => UserEventType::UserBlocked,
        proto::UserEventType::UserUnblocked => UserEventType::UserUnblocked,
        proto::UserEventType::UserDeleted => UserEventType::UserDeleted,
        proto::UserEventType::PasswordSet => UserEventType::PasswordSet,
        proto::UserEventType::PasswordChanged => UserEventType::PasswordChanged,
        proto::UserEventType::PasswordReset => UserEventType::PasswordReset,
        proto::UserEventType::PasswordRemoved => UserEventType::PasswordRemoved,
        proto::UserEventType::EmailVerified => UserEventType::EmailVerified,
        proto::UserEventType::SessionsRevoked => UserEventType::SessionsRevoked,
        proto::UserEventType::RefreshTokenReused => UserEventType::RefreshTokenReused,
        proto::UserEventType::LockoutCleared => UserEventType::LockoutCleared,
        proto::UserEventType::OauthAccountLinked => UserEventType::OAuthAccountLinked,
        proto::UserEventType::OauthAccountUnlinked => UserEventType::OAuthAccountUnlinked,
    })
}

impl From<UserEventType> for proto::UserEventType {
    fn from(event_type: UserEventType) -> Self {
        match event_type {
            UserEventType::UserCreated => Self::UserCreated,
            UserEventType::UserUpdated => Self::UserUpdated,
            UserEventType::UserDeactivated => Self::UserDeactivated,
            UserEventType::UserReactivated => Self::UserReactivated,
            UserEventType::UserBlocked => Self::UserBlocked,
            UserEventType::UserUnblocked => Self::UserUnblocked,
            UserEventType::UserDeleted => Self::UserDeleted,
            UserEventType::PasswordSet => Self::PasswordSet,
            UserEventType::PasswordChanged => Self::PasswordChanged,
            UserEventType::PasswordReset => Self::PasswordReset,
            UserEventType::PasswordRemoved => Self::PasswordRemoved,
            UserEventType::EmailVerified => Self::EmailVerified,
            UserEventType::SessionsRevoked => Self::SessionsRevoked,
            UserEventType::RefreshTokenReused => Self::RefreshTokenReused,
            UserEventType::LockoutCleared => Self::LockoutCleared,
            UserEventType::OAuthAccountLinked => Self::OauthAccountLinked,
            UserEventType::OAuthAccountUnlinked => Self::OauthAccountUnlinked,
        }
    }
}

fn actor_kind(number: i32) -> Option<ActorKind> {
    Some(match proto::ActorKind::try_from(number).ok()? {
        proto::ActorKind::Unspecified => return None,
        proto::ActorKind::Anonymous => ActorKind::Anonymous,
        proto::ActorKind::Service => ActorKind::Service,
        proto::ActorKind::Certificate => ActorKind::Certificate,
        proto::ActorKind::User => ActorKind::User,
        proto::ActorKind::Operator => ActorKind::Operator,
        proto::ActorKind::System => ActorKind::System,
    })
}

impl From<ActorKind> for proto::ActorKind {
    fn from(kind: ActorKind) -> Self {
        match kind {
            ActorKind::Anonymous => Self::Anonymous,
            ActorKind::Service => Self::Service,
            ActorKind::Certificate => Self::Certificate,
            ActorKind::User => Self::User,
            ActorKind::Operator => Self::Operator,
            ActorKind::System => Self::System,
        }
    }
}

impl From<RecordedActor> for proto::Actor {
    fn from(actor: RecordedActor) -> Self {
        Self {
            kind: proto::ActorKind::from(actor.kind).into(),
            name: actor.name.unwrap_or_default(),
        }
    }
}

impl From<UserEvent> for proto::UserEvent {
    fn from(event: UserEvent) -> Self {
        Self {
            id: event.id.to_string(),
            user_id: event.user_id.to_string(),
            r#type: proto::UserEventType::from(event.event_type).into(),
            changed_fields: event
                .changed_fields
                .into_iter()
                .map(UserField::name)
                .map(str::to_owned)
                .collect(),
            actor: Some(event.actor.into()),
            session_id: event.session_id.map(|id| id.to_string()).unwrap_or_default(),
            correlation_id: event.correlation_id.as_str().to_owned(),
            occur_time: Some(time_to_proto(event.occurred_at)),
        }
    }
}
