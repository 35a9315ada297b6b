//! Returns a page of users.

use super::Users;
use super::watch_users::resume_token;
use crate::domain::{EmailPrefix, Invalid, ListUsers, User as DomainUser, UserFilter, UserOrder};
use crate::grpc::call::CallContext;
use crate::grpc::convert;
use crate::grpc::error::ApiError;
use crate::grpc::page::Page;
use crate::grpc::violations::{Violations, all};
use crate::proto::identity::v1::{
    ErrorReason, ListUsersRequest, ListUsersResponse, User, UserFilter as FilterMessage,
};

pub(super) async fn list_users(
    users: &Users,
    context: &CallContext,
    request: ListUsersRequest,
) -> Result<ListUsersResponse, ApiError> {
    let mut violations = Violations::default();
    let order = order(&request.order_by, &mut violations);
    let filter = filter(request.filter.as_ref(), &mut violations);
    let what = ListUsersRequest {
        page_size: 0,
        page_token: String::new(),
        // The same order, however it is written.
        order_by: format!("{order:?}"),
        filter: Some(request.filter.clone().unwrap_or_default()),
    };
    let page = Page {
        tokens: &users.page_tokens,
        list: "ListUsers",
        what: &what,
        size: request.page_size,
        token: &request.page_token,
        now: context.now,
    }
    .parse(&mut violations);
    let (filter, order, page) = violations.finish(all(filter, order, page))?;
    let list = ListUsers {
        filter,
        order,
        after: page.after(),
        limit: page.limit(),
    };
    // Before the list, so that nothing happens in between.
    let resume_token = if list.after.is_none() {
        resume_token(users, &users.feed.position().await?)?
    } else {
        String::new()
    };
    let found = users.users.list(list).await?;
    let (found, next_page_token) = page.finish(found, DomainUser::position)?;
    Ok(ListUsersResponse {
        users: found.into_iter().map(User::from).collect(),
        next_page_token,
        resume_token,
    })
}

/// Parses the order in the syntax of AIP-132, over an allow-list. Ties are always in the order of ids, so
/// saying so is allowed as well.
fn order(text: &str, violations: &mut Violations) -> Option<UserOrder> {
    /// Far more than any order that is allowed, with some spaces to spare.
    const MAX_CHARACTERS: usize = 64;
    if text.chars().count() > MAX_CHARACTERS {
        return violations.take("order_by", Err(Invalid::too_long(MAX_CHARACTERS, "characters")));
    }
    let terms: Vec<Vec<&str>> = text
        .split(',')
        .map(|term| term.split_ascii_whitespace().collect())
        .collect();
    let terms: Vec<&[&str]> = terms.iter().map(Vec::as_slice).collect();
    match terms.as_slice() {
        [[]] | [["create_time"]] | [["create_time"], ["id"]] => Some(UserOrder::CreatedAt),
        [["create_time", "desc"]] | [["create_time", "desc"], ["id", "desc"]] => {
            Some(UserOrder::CreatedAtDescending)
        }
        _ => {
            violations.add(
                "order_by",
                ErrorReason::InvalidFormat,
                "must be \"create_time\" or \"create_time desc\"",
            );
            None
        }
    }
}

fn filter(message: Option<&FilterMessage>, violations: &mut Violations) -> Option<UserFilter> {
    let Some(message) = message else {
        return Some(UserFilter::default());
    };
    let created_from = message.created_from.as_ref().map(convert::time_from_proto);
    let created_from = violations.take("filter.created_from", created_from.transpose());
    let created_before = message.created_before.as_ref().map(convert::time_from_proto);
    let created_before = violations.take("filter.created_before", created_before.transpose());
    let email_prefix = violations.take(
        "filter.email_prefix",
        convert::optional(&message.email_prefix, EmailPrefix::parse),
    );
    Some(UserFilter {
        created_from: created_from?,
        created_before: created_before?,
        is_active: message.is_active,
        is_blocked: message.is_blocked,
        email_prefix: email_prefix?,
    })
}
