//! Ends the session of a refresh token, or all sessions of its user.

use super::Auth;
use crate::grpc::call::CallContext;
use crate::grpc::convert;
use crate::grpc::error::ApiError;
use crate::grpc::violations::Violations;
use crate::proto::identity::v1::{SignOutRequest, SignOutResponse};

pub(super) async fn sign_out(
    auth: &Auth,
    context: &CallContext,
    request: SignOutRequest,
) -> Result<SignOutResponse, ApiError> {
    let mut violations = Violations::default();
    let token = convert::token("refresh_token", &request.refresh_token, &mut violations);
    let token = violations.finish(token)?;
    let ended = auth
        .authenticator
        .sign_out(token.reveal(), request.all_sessions, context.origin())
        .await?;
    Ok(SignOutResponse {
        ended_sessions: convert::to_count(ended),
    })
}
