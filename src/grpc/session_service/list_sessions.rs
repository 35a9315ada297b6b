//! Returns a page of the sessions of a user.

use super::Sessions;
use crate::domain::{ListSessions, Session};
use crate::grpc::call::CallContext;
use crate::grpc::convert;
use crate::grpc::error::ApiError;
use crate::grpc::page::Page;
use crate::grpc::violations::Violations;
use crate::proto::identity::v1::{ListSessionsRequest, ListSessionsResponse};

pub(super) async fn list_sessions(
    sessions: &Sessions,
    context: &CallContext,
    request: ListSessionsRequest,
) -> Result<ListSessionsResponse, ApiError> {
    let mut violations = Violations::default();
    let user_id = convert::user_id("user_id", &request.user_id, &mut violations);
    let what = ListSessionsRequest {
        page_size: 0,
        page_token: String::new(),
        // The same user, however its id is written.
        user_id: user_id.map(|id| id.to_string()).unwrap_or_default(),
        ..request.clone()
    };
    let page = Page {
        tokens: &sessions.page_tokens,
        list: "ListSessions",
        what: &what,
        size: request.page_size,
        token: &request.page_token,
        now: context.now,
    }
    .parse(&mut violations);
    let (user_id, page) = violations.finish(user_id.zip(page))?;
    context.check_reach(user_id)?;
    let list = ListSessions {
        user_id,
        live_at: (!request.include_ended).then_some(context.now),
        after: page.after(),
        limit: page.limit(),
    };
    let (found, next_page_token) =
        page.finish(sessions.sessions.list(list).await?, Session::position)?;
    Ok(ListSessionsResponse {
        sessions: found.into_iter().map(Into::into).collect(),
        next_page_token,
    })
}
