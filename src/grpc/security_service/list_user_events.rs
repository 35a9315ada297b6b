//! Returns a page of what happened to users.

use super::Security;
use crate::domain::{ListUserEvents, UserEvent, UserEventFilter, UserId};
use crate::grpc::call::CallContext;
use crate::grpc::convert;
use crate::grpc::error::ApiError;
use crate::grpc::page::Page;
use crate::grpc::violations::Violations;
use crate::proto::identity::v1::{
    ListUserEventsRequest, ListUserEventsResponse, UserEventFilter as FilterMessage,
};

pub(super) async fn list_user_events(
    security: &Security,
    context: &CallContext,
    request: ListUserEventsRequest,
) -> Result<ListUserEventsResponse, ApiError> {
    let mut violations = Violations::default();
    let filter = filter(request.filter.as_ref(), &mut violations);
    let what = request.filter.clone().unwrap_or_default();
    let page = Page {
        tokens: &security.page_tokens,
        list: "ListUserEvents",
        what: &what,
        size: request.page_size,
        token: &request.page_token,
        now: context.now,
    }
    .parse(&mut violations);
    let (filter, page) = violations.finish(filter.zip(page))?;
    let list = ListUserEvents {
        filter,
        after: page.after(),
        limit: page.limit(),
    };
    let found = security.user_events.list(list).await?;
    let (found, next_page_token) = page.finish(found, UserEvent::position)?;
    Ok(ListUserEventsResponse {
        user_events: found.into_iter().map(Into::into).collect(),
        next_page_token,
    })
}

/// Converts a filter. The user is not looked up: its events are there longer than the user.
fn filter(message: Option<&FilterMessage>, violations: &mut Violations) -> Option<UserEventFilter> {
    let Some(message) = message else {
        return Some(UserEventFilter::default());
    };
    let user_id = violations.take(
        "filter.user_id",
        convert::optional(&message.user_id, UserId::parse),
    );
    let actor = match &message.actor {
        Some(actor) => convert::actor_filter("filter.actor", actor, violations).map(Some),
        None => Some(None),
    };
    let types = convert::event_types("filter.types", &message.types, violations);
    let from = message.occurred_from.as_ref().map(convert::time_from_proto);
    let from = violations.take("filter.occurred_from", from.transpose());
    let before = message.occurred_before.as_ref().map(convert::time_from_proto);
    let before = violations.take("filter.occurred_before", before.transpose());
    Some(UserEventFilter {
        user_id: user_id?,
        actor: actor?,
        types: types?,
        occurred_from: from?,
        occurred_before: before?,
    })
}
