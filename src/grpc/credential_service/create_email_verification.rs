//! Makes a token that shows that whoever has it can read the mail to a user's email.

use super::Credentials;
use crate::domain::OneTimeTokenPurpose;
use crate::grpc::call::CallContext;
use crate::grpc::convert::time_to_proto;
use crate::grpc::error::ApiError;
use crate::proto::identity::v1::{CreateEmailVerificationRequest, CreateEmailVerificationResponse};

pub(super) async fn create_email_verification(
    credentials: &Credentials,
    context: &CallContext,
    request: CreateEmailVerificationRequest,
) -> Result<CreateEmailVerificationResponse, ApiError> {
    let purpose = OneTimeTokenPurpose::EmailVerification;
    let lifetime = credentials.lifetimes.email_verification;
    let issued = credentials
        .issue_token(&request.user_id, purpose, lifetime, context)
        .await?;
    let email = issued.user.profile.email;
    Ok(CreateEmailVerificationResponse {
        token: issued.token.reveal().to_owned(),
        expire_time: Some(time_to_proto(issued.expires_at)),
        email: email.map(|email| email.as_str().to_owned()).unwrap_or_default(),
    })
}
