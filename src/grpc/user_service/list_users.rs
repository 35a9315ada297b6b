//! Returns a page of users.

use prost::Message;
use ring::digest::{SHA256, digest};

use super::Users;
use crate::domain::{EmailPrefix, Invalid, ListPosition, ListUsers, UserFilter, UserOrder};
use crate::grpc::call::CallContext;
use crate::grpc::convert;
use crate::grpc::error::ApiError;
use crate::grpc::violations::Violations;
use crate::proto::identity::v1::{
    ErrorReason, ListUsersRequest, ListUsersResponse, User, UserFilter as FilterMessage,
};

/// The size of a page unless the caller asks for another.
const DEFAULT_PAGE_SIZE: i64 = 50;

/// The largest page.
const MAX_PAGE_SIZE: i64 = 100;

pub(super) async fn list_users(
    users: &Users,
    context: &CallContext,
    request: ListUsersRequest,
) -> Result<ListUsersResponse, ApiError> {
    let mut violations = Violations::default();
    let page_size = page_size(request.page_size, &mut violations);
    let order = order(&request.order_by, &mut violations);
    let filter = filter(request.filter.as_ref(), &mut violations);
    let list_id = list_id(&request, order);
    let after = position(users, context, &request.page_token, &list_id, &mut violations);
    let list = || {
        Some(ListUsers {
            filter: filter?,
            order: order?,
            after: after?,
            // One more than the page, to tell whether there is another.
            limit: page_size? + 1,
        })
    };
    let list = violations.finish(list())?;
    let page_length = usize::try_from(list.limit - 1).unwrap_or_default();

    let mut found = users.users.list(list).await?;
    let has_more = found.len() > page_length;
    found.truncate(page_length);
    let next_page_token = match found.last() {
        Some(last) if has_more => {
            let position = ListPosition {
                created_at: last.created_at,
                id: last.id.uuid(),
            };
            users
                .page_tokens
                .issue(position, &list_id, context.now)
                .ok_or_else(|| ApiError::internal(&"a page token could not be made"))?
        }
        _ => String::new(),
    };
    Ok(ListUsersResponse {
        users: found.into_iter().map(User::from).collect(),
        next_page_token,
    })
}

fn page_size(asked: i32, violations: &mut Violations) -> Option<i64> {
    match i64::from(asked) {
        ..0 => {
            violations.add("page_size", ErrorReason::ValueOutOfRange, "must not be negative");
            None
        }
        0 => Some(DEFAULT_PAGE_SIZE),
        size => Some(size.min(MAX_PAGE_SIZE)),
    }
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

/// Tells lists apart: what a page token of one must not be used for.
fn list_id(request: &ListUsersRequest, order: Option<UserOrder>) -> Vec<u8> {
    let filter = request.filter.clone().unwrap_or_default().encode_to_vec();
    let text = [format!("ListUsers {order:?} ").as_bytes(), &filter].concat();
    digest(&SHA256, &text).as_ref().to_vec()
}

fn position(
    users: &Users,
    context: &CallContext,
    token: &str,
    list_id: &[u8],
    violations: &mut Violations,
) -> Option<Option<ListPosition>> {
    if token.is_empty() {
        return Some(None);
    }
    match users.page_tokens.read(token, list_id, context.now) {
        Ok(position) => Some(Some(position)),
        Err(_) => {
            violations.add(
                "page_token",
                ErrorReason::InvalidPageToken,
                "is not a token for this filter and order, or is too old",
            );
            None
        }
    }
}
