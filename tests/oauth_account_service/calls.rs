//! Calls of the service of accounts at providers, each in one line.

use identity::proto::identity::v1::{
    LinkOAuthAccountRequest, ListOAuthAccountsRequest, OAuthAccount, UnlinkOAuthAccountRequest, User,
};

use crate::credential_service::calls::PATIENT;
use crate::support::issuer::{PROVIDER, shared_issuer, with_shared_issuer};
use crate::support::{Clients, Failure, Test};

/// The settings of a server on which many calls may wait for one user.
pub fn patient() -> Vec<(&'static str, &'static str)> {
    [with_shared_issuer().as_slice(), &PATIENT].concat()
}

/// A request that links an account of the shared issuer with a user.
pub fn link_request(t: &Test, user_id: &str, subject: &str) -> LinkOAuthAccountRequest {
    LinkOAuthAccountRequest {
        user_id: user_id.to_owned(),
        provider: PROVIDER.to_owned(),
        id_token: shared_issuer().token(t, subject, &format!("{subject}@provider.example")),
        ..LinkOAuthAccountRequest::default()
    }
}

/// Links an account of the shared issuer with a user.
pub async fn link(
    t: &Test,
    clients: &Clients,
    user_id: &str,
    subject: &str,
) -> Result<(OAuthAccount, User), Failure> {
    link_with(clients, link_request(t, user_id, subject)).await
}

/// Links an account, with all that the request can say.
pub async fn link_with(
    clients: &Clients,
    request: LinkOAuthAccountRequest,
) -> Result<(OAuthAccount, User), Failure> {
    let response = clients.oauth_accounts().link_o_auth_account(request).await?;
    let response = response.into_inner();
    Ok((
        response.account.expect("an account"),
        response.user.expect("a user"),
    ))
}

/// Unlinks an account.
pub async fn unlink(clients: &Clients, user_id: &str, account_id: &str) -> Result<User, Failure> {
    let request = UnlinkOAuthAccountRequest {
        user_id: user_id.to_owned(),
        account_id: account_id.to_owned(),
        ..UnlinkOAuthAccountRequest::default()
    };
    unlink_with(clients, request).await
}

/// Unlinks an account, with all that the request can say.
pub async fn unlink_with(
    clients: &Clients,
    request: UnlinkOAuthAccountRequest,
) -> Result<User, Failure> {
    let response = clients.oauth_accounts().unlink_o_auth_account(request).await?;
    Ok(response.into_inner().user.expect("a user"))
}

/// Returns the accounts of a user.
pub async fn list(clients: &Clients, user_id: &str) -> Result<Vec<OAuthAccount>, Failure> {
    let request = ListOAuthAccountsRequest {
        user_id: user_id.to_owned(),
        ..ListOAuthAccountsRequest::default()
    };
    let response = clients.oauth_accounts().list_o_auth_accounts(request).await?;
    Ok(response.into_inner().accounts)
}

/// Signs in with an account of the shared issuer, and returns the user.
pub async fn enter(t: &Test, clients: &Clients, subject: &str) -> Result<User, Failure> {
    let token = shared_issuer().token(t, subject, &format!("{subject}@provider.example"));
    let response = clients.sign_in_with_id_token(PROVIDER, &token).await?;
    Ok(response.user.expect("a user"))
}
