//! Streams the users as they are, and then every change of them.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::stream::unfold;
use tokio_stream::Stream;
use tonic::Status;

use super::Users;
use crate::domain::{Invalid, UserField, UserId, WatchFilter, WatchPosition};
use crate::feed::{WatchError, WatchFrom, WatchMessage, Watcher};
use crate::grpc::call::CallContext;
use crate::grpc::convert;
use crate::grpc::error::ApiError;
use crate::grpc::violations::{Violations, all};
use crate::proto::identity::v1::watch_users_request::Start;
use crate::proto::identity::v1::watch_users_response::Content;
use crate::proto::identity::v1::{
    ErrorReason, UserChange, UserEventType, WatchCheckpoint, WatchStart, WatchUsersRequest,
    WatchUsersResponse,
};

pub(super) type WatchUsersStream =
    Pin<Box<dyn Stream<Item = Result<WatchUsersResponse, Status>> + Send>>;

pub(super) async fn watch_users(
    users: &Arc<Users>,
    context: &CallContext,
    request: WatchUsersRequest,
) -> Result<WatchUsersStream, ApiError> {
    let mut violations = Violations::default();
    let start = start(users, request.start.as_ref(), &mut violations);
    let types = convert::event_types("types", &request.types, &mut violations);
    let user_ids = user_ids(&request.user_ids, &mut violations);
    let (start, types, user_ids) = violations.finish(all(start, types, user_ids))?;
    let filter = WatchFilter { types, user_ids };
    let watcher = users.feed.watch(start, filter, context.standing.clone()).await?;
    let telling = Telling {
        watcher,
        users: Arc::clone(users),
    };
    Ok(Box::pin(unfold(Some(telling), |telling| async {
        let mut telling = telling?;
        match telling.next().await {
            Ok(message) => Some((Ok(message), Some(telling))),
            Err(error) => Some((Err(error.into()), None)),
        }
    })))
}

fn start(users: &Users, start: Option<&Start>, violations: &mut Violations) -> Option<WatchFrom> {
    match start {
        Some(Start::StartAt(number)) => match WatchStart::try_from(*number) {
            Ok(WatchStart::Beginning) => Some(WatchFrom::Beginning),
            Ok(WatchStart::Now) => Some(WatchFrom::Now),
            Ok(WatchStart::Unspecified) | Err(_) => {
                violations.add("start_at", ErrorReason::InvalidFormat, "is not a place to begin");
                None
            }
        },
        Some(Start::ResumeToken(token)) => {
            let position = users.resume_tokens.read(token, users.feed.kind());
            if position.is_none() {
                violations.add(
                    "resume_token",
                    ErrorReason::InvalidResumeToken,
                    "is not a token of this service and its database",
                );
            }
            position.map(WatchFrom::Position)
        }
        None => {
            violations.add("start", ErrorReason::FieldRequired, "says where to begin");
            None
        }
    }
}

fn user_ids(texts: &[String], violations: &mut Violations) -> Option<Vec<UserId>> {
    /// As many as BatchGetUsers takes: they are compared one by one.
    const MAX_USERS: usize = 100;
    if texts.len() > MAX_USERS {
        return violations.take("user_ids", Err(Invalid::too_long(MAX_USERS, "ids")));
    }
    let ids: Vec<Option<UserId>> = texts
        .iter()
        .enumerate()
        .map(|(index, id)| convert::user_id(&format!("user_ids[{index}]"), id, violations))
        .collect();
    ids.into_iter().collect()
}

/// Seals a position.
pub(super) fn resume_token(users: &Users, position: &WatchPosition) -> Result<String, ApiError> {
    users
        .resume_tokens
        .issue(position, users.feed.kind())
        .ok_or_else(|| ApiError::internal(&"a resume token could not be made"))
}

impl From<WatchError> for ApiError {
    fn from(error: WatchError) -> Self {
        match error {
            WatchError::Database(error) => error.into(),
            WatchError::Refused(refusal) => refusal.into(),
            WatchError::Expired => Self::resume_token_expired(),
            WatchError::UnknownPosition => Self::from(Violations::one(
                "resume_token",
                ErrorReason::InvalidResumeToken,
                "is of a state that the database does not have",
            )),
            WatchError::Ending => Self::ending(),
        }
    }
}

/// Turns what a watcher is told into messages.
struct Telling {
    watcher: Watcher,
    users: Arc<Users>,
}

impl Telling {
    async fn next(&mut self) -> Result<WatchUsersResponse, ApiError> {
        let (message, position) = self.watcher.next().await?;
        let content = match message {
            WatchMessage::User(user) => Content::User((*user).into()),
            WatchMessage::Change(change) => Content::Change(UserChange {
                event_id: change.event.id.to_string(),
                r#type: UserEventType::from(change.event.event_type).into(),
                user_id: change.event.user_id.to_string(),
                user: change.user.clone().map(Into::into),
                changed_fields: change
                    .event
                    .changed_fields
                    .iter()
                    .copied()
                    .map(UserField::name)
                    .map(str::to_owned)
                    .collect(),
                occur_time: Some(convert::time_to_proto(change.event.occurred_at)),
            }),
            WatchMessage::Checkpoint => Content::Checkpoint(WatchCheckpoint {}),
        };
        Ok(WatchUsersResponse {
            content: Some(content),
            resume_token: resume_token(&self.users, &position)?,
        })
    }
}
