//! Notes that the email of the user is verified that a token was made for.

use super::Credentials;
use crate::domain::{ConfirmOneTimeToken, OneTimeTokenPurpose, UserChange};
use crate::grpc::call::CallContext;
use crate::grpc::convert;
use crate::grpc::error::ApiError;
use crate::grpc::violations::Violations;
use crate::proto::identity::v1::{ConfirmEmailVerificationRequest, ConfirmEmailVerificationResponse};

pub(super) async fn confirm_email_verification(
    credentials: &Credentials,
    context: &CallContext,
    request: ConfirmEmailVerificationRequest,
) -> Result<ConfirmEmailVerificationResponse, ApiError> {
    let purpose = OneTimeTokenPurpose::EmailVerification;
    let mut violations = Violations::default();
    let token = convert::token("token", &request.token, &mut violations);
    let record = credentials.fingerprints.record(
        context,
        "ConfirmEmailVerification",
        &request.request_id,
        &request,
        &mut violations,
    );
    let token = violations.finish(token)?;
    if let Some(user) = credentials.user_of_repeated(record.as_ref()).await? {
        let user = Some(user.into());
        return Ok(ConfirmEmailVerificationResponse { user });
    }
    let found = credentials.find_by_token(&token, purpose, context.now).await;
    let (token_hash, user) = match found {
        Ok(found) => found,
        Err(refused) => {
            // The same request may have used the token a moment ago.
            let repeated = credentials.user_of_repeated(record.as_ref()).await?;
            let user = Some(repeated.ok_or(refused)?.into());
            return Ok(ConfirmEmailVerificationResponse { user });
        }
    };
    let value = ConfirmOneTimeToken {
        user_id: user.id,
        purpose,
        token_hash,
        change: UserChange::VerifyEmail,
        now: context.now,
    };
    let changed = credentials
        .one_time_tokens
        .confirm(context.command(value, record))
        .await?;
    Ok(ConfirmEmailVerificationResponse {
        user: Some(changed.into()),
    })
}
