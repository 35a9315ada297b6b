//! Exchanges a refresh token for the next tokens.

use super::Auth;
use crate::grpc::call::CallContext;
use crate::grpc::convert;
use crate::grpc::error::ApiError;
use crate::grpc::violations::Violations;
use crate::proto::identity::v1::{RefreshTokensRequest, RefreshTokensResponse};

pub(super) async fn refresh_tokens(
    auth: &Auth,
    context: &CallContext,
    request: RefreshTokensRequest,
) -> Result<RefreshTokensResponse, ApiError> {
    let mut violations = Violations::default();
    let token = convert::token("refresh_token", &request.refresh_token, &mut violations);
    let client = convert::client(request.client.as_ref(), &mut violations);
    let (token, client) = violations.finish(token.zip(client))?;
    let tokens = auth
        .authenticator
        .refresh(token.reveal(), client, context.origin())
        .await?;
    Ok(RefreshTokensResponse {
        tokens: Some(convert::tokens_to_proto(&tokens)),
    })
}
