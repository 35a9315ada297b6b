//! `identity.v1.OAuthAccountService`.

mod link_oauth_account;
mod list_oauth_accounts;
mod unlink_oauth_account;

use std::sync::Arc;

use chrono::TimeDelta;
use tonic::{Request, Response, Status};

use super::call::CallContext;
use super::error::ApiError;
use super::{Caller, PageTokens, RequestFingerprints};
use crate::domain::{Refusal, UserId};
use crate::id_tokens::IdTokens;
use crate::proto::identity::v1::o_auth_account_service_server::OAuthAccountService;
use crate::proto::identity::v1::{
    LinkOAuthAccountRequest, LinkOAuthAccountResponse, ListOAuthAccountsRequest,
    ListOAuthAccountsResponse, UnlinkOAuthAccountRequest, UnlinkOAuthAccountResponse,
};
use crate::repositories::OAuthAccountRepository;

/// Answers the calls of the service.
#[derive(Clone)]
pub struct OAuthAccountServiceImpl(Arc<OAuthAccounts>);

/// What the RPCs work with.
pub struct OAuthAccounts {
    /// The linked accounts.
    pub oauth_accounts: OAuthAccountRepository,
    /// The providers.
    pub id_tokens: IdTokens,
    /// How long ago users may have signed in who change their accounts themselves.
    pub fresh_sign_in: TimeDelta,
    /// Makes and reads page tokens.
    pub page_tokens: PageTokens,
    /// Tells requests apart.
    pub fingerprints: RequestFingerprints,
}

impl OAuthAccountServiceImpl {
    /// Makes the service.
    #[must_use]
    pub fn new(accounts: OAuthAccounts) -> Self {
        Self(Arc::new(accounts))
    }
}

impl OAuthAccounts {
    /// Checks that the caller may change the accounts of a user: services may, and users may change their own a moment
    /// after they signed in. An access token that fell into the wrong hands is not enough to let somebody in for good.
    fn check_change(&self, context: &CallContext, id: UserId) -> Result<(), ApiError> {
        context.check_reach(id)?;
        match &context.caller {
            Caller::User(caller) if context.now - caller.session.created_at > self.fresh_sign_in => {
                Err(Refusal::ReauthenticationRequired.into())
            }
            Caller::User(_) | Caller::FormerUser(_) | Caller::Service(_) | Caller::Anyone => Ok(()),
        }
    }
}

#[tonic::async_trait]
impl OAuthAccountService for OAuthAccountServiceImpl {
    async fn link_o_auth_account(
        &self,
        request: Request<LinkOAuthAccountRequest>,
    ) -> Result<Response<LinkOAuthAccountResponse>, Status> {
        let (context, message) = CallContext::split(request)?;
        Ok(Response::new(
            link_oauth_account::link_oauth_account(&self.0, &context, message).await?,
        ))
    }

    async fn unlink_o_auth_account(
        &self,
        request: Request<UnlinkOAuthAccountRequest>,
    ) -> Result<Response<UnlinkOAuthAccountResponse>, Status> {
        let (context, message) = CallContext::split(request)?;
        Ok(Response::new(
            unlink_oauth_account::unlink_oauth_account(&self.0, &context, message).await?,
        ))
    }

    async fn list_o_auth_accounts(
        &self,
        request: Request<ListOAuthAccountsRequest>,
    ) -> Result<Response<ListOAuthAccountsResponse>, Status> {
        let (context, message) = CallContext::split(request)?;
        Ok(Response::new(
            list_oauth_accounts::list_oauth_accounts(&self.0, &context, message).await?,
        ))
    }
}
