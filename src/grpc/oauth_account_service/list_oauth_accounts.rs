//! Returns a page of the accounts of a user.

use super::OAuthAccounts;
use crate::domain::{ListOAuthAccounts, OAuthAccount};
use crate::grpc::call::CallContext;
use crate::grpc::convert;
use crate::grpc::error::ApiError;
use crate::grpc::page::Page;
use crate::grpc::violations::Violations;
use crate::proto::identity::v1::{ListOAuthAccountsRequest, ListOAuthAccountsResponse};

pub(super) async fn list_oauth_accounts(
    accounts: &OAuthAccounts,
    context: &CallContext,
    request: ListOAuthAccountsRequest,
) -> Result<ListOAuthAccountsResponse, ApiError> {
    let mut violations = Violations::default();
    let user_id = convert::user_id("user_id", &request.user_id, &mut violations);
    let what = ListOAuthAccountsRequest {
        // The same user, however its id is written.
        user_id: user_id.map(|id| id.to_string()).unwrap_or_default(),
        ..ListOAuthAccountsRequest::default()
    };
    let page = Page {
        tokens: &accounts.page_tokens,
        list: "ListOAuthAccounts",
        what: &what,
        size: request.page_size,
        token: &request.page_token,
        now: context.now,
    }
    .parse(&mut violations);
    let (user_id, page) = violations.finish(user_id.zip(page))?;
    context.check_reach(user_id)?;
    let list = ListOAuthAccounts {
        user_id,
        after: page.after(),
        limit: page.limit(),
    };
    let listed = accounts.oauth_accounts.list(list).await?;
    let (found, next_page_token) = page.finish(listed, OAuthAccount::position)?;
    Ok(ListOAuthAccountsResponse {
        accounts: found.into_iter().map(Into::into).collect(),
        next_page_token,
    })
}
