//! Makes a token with which a user can set a new password.

use super::Credentials;
use crate::domain::OneTimeTokenPurpose;
use crate::grpc::call::CallContext;
use crate::grpc::convert::time_to_proto;
use crate::grpc::error::ApiError;
use crate::proto::identity::v1::{CreatePasswordResetRequest, CreatePasswordResetResponse};

pub(super) async fn create_password_reset(
    credentials: &Credentials,
    context: &CallContext,
    request: CreatePasswordResetRequest,
) -> Result<CreatePasswordResetResponse, ApiError> {
    let purpose = OneTimeTokenPurpose::PasswordReset;
    let lifetime = credentials.lifetimes.password_reset;
    let issued = credentials
        .issue_token(&request.user_id, purpose, lifetime, context)
        .await?;
    Ok(CreatePasswordResetResponse {
        token: issued.token.reveal().to_owned(),
        expire_time: Some(time_to_proto(issued.expires_at)),
    })
}
