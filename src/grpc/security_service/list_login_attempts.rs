//! Returns a page of attempts to sign in.

use super::Security;
use crate::domain::{Invalid, ListLoginAttempts, LoginAttempt, LoginAttemptFilter, UserId};
use crate::grpc::call::CallContext;
use crate::grpc::convert;
use crate::grpc::error::ApiError;
use crate::grpc::page::Page;
use crate::grpc::violations::Violations;
use crate::proto::identity::v1::{
    ListLoginAttemptsRequest, ListLoginAttemptsResponse, LoginAttemptFilter as FilterMessage,
};

pub(super) async fn list_login_attempts(
    security: &Security,
    context: &CallContext,
    request: ListLoginAttemptsRequest,
) -> Result<ListLoginAttemptsResponse, ApiError> {
    let mut violations = Violations::default();
    let filter = filter(request.filter.as_ref(), &mut violations);
    let what = request.filter.clone().unwrap_or_default();
    let page = Page {
        tokens: &security.page_tokens,
        list: "ListLoginAttempts",
        what: &what,
        size: request.page_size,
        token: &request.page_token,
        now: context.now,
    }
    .parse(&mut violations);
    let (filter, page) = violations.finish(filter.zip(page))?;
    let list = ListLoginAttempts {
        filter,
        after: page.after(),
        limit: page.limit(),
    };
    let found = security.login_attempts.list(list).await?;
    let (found, next_page_token) = page.finish(found, LoginAttempt::position)?;
    Ok(ListLoginAttemptsResponse {
        login_attempts: found.into_iter().map(Into::into).collect(),
        next_page_token,
    })
}

fn filter(message: Option<&FilterMessage>, violations: &mut Violations) -> Option<LoginAttemptFilter> {
    let Some(message) = message else {
        return Some(LoginAttemptFilter::default());
    };
    let user_id = violations.take(
        "filter.user_id",
        convert::optional(&message.user_id, UserId::parse),
    );
    let identifier = violations.take(
        "filter.identifier",
        convert::optional(&message.identifier, identifier),
    );
    let from = message.attempted_from.as_ref().map(convert::time_from_proto);
    let from = violations.take("filter.attempted_from", from.transpose());
    let before = message.attempted_before.as_ref().map(convert::time_from_proto);
    let before = violations.take("filter.attempted_before", before.transpose());
    Some(LoginAttemptFilter {
        user_id: user_id?,
        identifier: identifier?,
        success: message.success,
        attempted_from: from?,
        attempted_before: before?,
    })
}

/// Accepts what the list can hold.
fn identifier(text: &str) -> Result<String, Invalid> {
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
