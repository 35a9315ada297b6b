//! Returns the user who is calling.

use super::Auth;
use crate::grpc::call::CallContext;
use crate::grpc::error::ApiError;
use crate::proto::identity::v1::{GetMeRequest, GetMeResponse};

pub(super) async fn get_me(
    _auth: &Auth,
    context: CallContext,
    GetMeRequest {}: GetMeRequest,
) -> Result<GetMeResponse, ApiError> {
    let caller = context.caller.into_user()?;
    Ok(GetMeResponse {
        user: Some(caller.user.into()),
        session: Some(caller.session.into()),
    })
}
