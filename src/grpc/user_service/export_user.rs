//! Streams what is held about a user.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::stream::{BoxStream, StreamExt, try_unfold};
use tokio::time::{Instant, timeout_at};
use tonic::Status;

use super::Users;
use crate::domain::{
    ListLoginAttempts, ListPosition, ListSessions, ListUserEvents, LoginAttempt, LoginAttemptFilter,
    Session, UserEvent, UserEventFilter, UserId,
};
use crate::grpc::call::CallContext;
use crate::grpc::convert;
use crate::grpc::error::ApiError;
use crate::grpc::violations::Violations;
use crate::proto::identity::v1::export_user_response::Item;
use crate::proto::identity::v1::{ExportUserRequest, ExportUserResponse};

/// What is read at once: little enough that a client who does not read keeps little of the server.
const PAGE: i64 = 100;

pub(super) async fn export_user(
    users: &Arc<Users>,
    context: &CallContext,
    request: ExportUserRequest,
) -> Result<BoxStream<'static, Result<ExportUserResponse, Status>>, ApiError> {
    let mut violations = Violations::default();
    let id = convert::user_id("user_id", &request.user_id, &mut violations);
    let id = violations.finish(id)?;
    context.check_reach(id)?;
    let user = users.users.get_by_id(id).await?;
    let export = Export {
        users: Arc::clone(users),
        deadline: context.deadline.into(),
        id,
        next: Some(Section::Sessions(None)),
        items: VecDeque::from([Item::User(user.into())]),
    };
    let items = try_unfold(export, |mut export| async move {
        let item = export.next_item().await?;
        Ok(item.map(|item| (ExportUserResponse { item: Some(item) }, export)))
    });
    Ok(items.boxed())
}

/// How far an export has come.
struct Export {
    users: Arc<Users>,
    /// When the caller, or the server, has had enough.
    deadline: Instant,
    id: UserId,
    next: Option<Section>,
    items: VecDeque<Item>,
}

/// What comes next: one kind of thing, after a position in its list.
#[derive(Clone, Copy)]
enum Section {
    Sessions(Option<ListPosition>),
    LoginAttempts(Option<ListPosition>),
    UserEvents(Option<ListPosition>),
}

impl Export {
    async fn next_item(&mut self) -> Result<Option<Item>, ApiError> {
        loop {
            if let Some(item) = self.items.pop_front() {
                return Ok(Some(item));
            }
            let Some(section) = self.next else {
                return Ok(None);
            };
            let read = timeout_at(self.deadline, self.read(section)).await;
            self.next = read.map_err(|_| ApiError::deadline_exceeded())??;
        }
    }

    /// Reads a page, and returns what comes after it.
    async fn read(&mut self, section: Section) -> Result<Option<Section>, ApiError> {
        Ok(match section {
            Section::Sessions(after) => {
                let list = ListSessions {
                    user_id: self.id,
                    live_at: None,
                    after,
                    limit: PAGE,
                };
                let found = self.users.sessions.list(list).await?;
                let last = found.last().map(Session::position);
                self.items
                    .extend(found.into_iter().map(|one| Item::Session(one.into())));
                Some(last.map_or(Section::LoginAttempts(None), |last| Section::Sessions(Some(last))))
            }
            Section::LoginAttempts(after) => {
                let list = ListLoginAttempts {
                    filter: LoginAttemptFilter {
                        user_id: Some(self.id),
                        ..LoginAttemptFilter::default()
                    },
                    after,
                    limit: PAGE,
                };
                let found = self.users.login_attempts.list(list).await?;
                let last = found.last().map(LoginAttempt::position);
                self.items
                    .extend(found.into_iter().map(|one| Item::LoginAttempt(one.into())));
                Some(last.map_or(Section::UserEvents(None), |last| {
                    Section::LoginAttempts(Some(last))
                }))
            }
            Section::UserEvents(after) => {
                let list = ListUserEvents {
                    filter: UserEventFilter {
                        user_id: Some(self.id),
                        ..UserEventFilter::default()
                    },
                    after,
                    limit: PAGE,
                };
                let found = self.users.user_events.list(list).await?;
                let last = found.last().map(UserEvent::position);
                self.items
                    .extend(found.into_iter().map(|one| Item::UserEvent(one.into())));
                last.map(|last| Section::UserEvents(Some(last)))
            }
        })
    }
}
