//! Links an account at a provider with a user.

use super::OAuthAccounts;
use crate::domain::LinkOAuthAccount;
use crate::grpc::call::CallContext;
use crate::grpc::convert;
use crate::grpc::error::ApiError;
use crate::grpc::violations::{Violations, all};
use crate::proto::identity::v1::{LinkOAuthAccountRequest, LinkOAuthAccountResponse};

pub(super) async fn link_oauth_account(
    accounts: &OAuthAccounts,
    context: &CallContext,
    request: LinkOAuthAccountRequest,
) -> Result<LinkOAuthAccountResponse, ApiError> {
    let mut violations = Violations::default();
    let user_id = convert::user_id("user_id", &request.user_id, &mut violations);
    let provider = convert::provider(
        "provider",
        &request.provider,
        &accounts.id_tokens,
        &mut violations,
    );
    let token = convert::id_token("id_token", &request.id_token, &mut violations);
    let nonce = convert::nonce("nonce", &request.nonce, &mut violations);
    let etag = convert::etag("etag", &request.etag, &mut violations);
    let record = accounts.fingerprints.record(
        context,
        "LinkOAuthAccount",
        &request.request_id,
        &request,
        &mut violations,
    );
    let (user_id, (provider, token, nonce), etag) =
        violations.finish(all(user_id, all(provider, token, nonce), etag))?;
    accounts.check_change(context, user_id)?;
    let identity = provider
        .verify(token.reveal(), nonce.as_deref(), context.now)
        .await?;
    let value = LinkOAuthAccount {
        user_id,
        identity,
        etag,
        now: context.now,
    };
    let (account, user) = accounts
        .oauth_accounts
        .link(context.command(value, record))
        .await?;
    Ok(LinkOAuthAccountResponse {
        account: Some(account.into()),
        user: Some(user.into()),
    })
}
