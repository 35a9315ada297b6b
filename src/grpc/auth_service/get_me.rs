//! Returns the user who is calling.

use super::Auth;
use crate::domain::Refusal;
use crate::grpc::call::CallContext;
use crate::grpc::error::ApiError;
use crate::proto::identity::v1::{GetMeRequest, GetMeResponse};

pub(super) async fn get_me(
    auth: &Auth,
    context: &CallContext,
    GetMeRequest {}: GetMeRequest,
) -> Result<GetMeResponse, ApiError> {
    let token = context.token.as_ref().ok_or(Refusal::TokenRequired)?;
    let caller = auth.authenticator.authenticate(token.reveal()).await?;
    Ok(GetMeResponse {
        user: Some(caller.user.into()),
        session: Some(caller.session.into()),
    })
}
