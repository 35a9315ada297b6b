//! Unlinks an account at a provider from a user.

use super::OAuthAccounts;
use crate::domain::UnlinkOAuthAccount;
use crate::grpc::call::CallContext;
use crate::grpc::convert;
use crate::grpc::error::ApiError;
use crate::grpc::violations::{Violations, all};
use crate::proto::identity::v1::{UnlinkOAuthAccountRequest, UnlinkOAuthAccountResponse};

pub(super) async fn unlink_oauth_account(
    accounts: &OAuthAccounts,
    context: &CallContext,
    request: UnlinkOAuthAccountRequest,
) -> Result<UnlinkOAuthAccountResponse, ApiError> {
    let mut violations = Violations::default();
    let user_id = convert::user_id("user_id", &request.user_id, &mut violations);
    let account_id = convert::account_id("account_id", &request.account_id, &mut violations);
    let etag = convert::etag("etag", &request.etag, &mut violations);
    let record = accounts.fingerprints.record(
        context,
        "UnlinkOAuthAccount",
        &request.request_id,
        &request,
        &mut violations,
    );
    let (user_id, account_id, etag) = violations.finish(all(user_id, account_id, etag))?;
    accounts.check_change(context, user_id)?;
    let value = UnlinkOAuthAccount {
        user_id,
        account_id,
        etag,
        now: context.now,
    };
    let user = accounts
        .oauth_accounts
        .unlink(context.command(value, record))
        .await?;
    Ok(UnlinkOAuthAccountResponse {
        user: Some(user.into()),
    })
}
