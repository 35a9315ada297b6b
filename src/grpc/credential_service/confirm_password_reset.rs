//! Sets the password of the user that a token was made for.

use super::Credentials;
use crate::domain::{
    ConfirmOneTimeToken, NewPassword, OneTimeTokenPurpose, PasswordOccasion, UserChange,
};
use crate::grpc::call::CallContext;
use crate::grpc::convert;
use crate::grpc::error::ApiError;
use crate::grpc::violations::Violations;
use crate::proto::identity::v1::{ConfirmPasswordResetRequest, ConfirmPasswordResetResponse};

pub(super) async fn confirm_password_reset(
    credentials: &Credentials,
    context: &CallContext,
    request: ConfirmPasswordResetRequest,
) -> Result<ConfirmPasswordResetResponse, ApiError> {
    let purpose = OneTimeTokenPurpose::PasswordReset;
    let mut violations = Violations::default();
    let token = convert::token("token", &request.token, &mut violations);
    let acceptable =
        credentials.stranger_password("new_password", &request.new_password, &mut violations);
    let record = credentials.fingerprints.record(
        context,
        "ConfirmPasswordReset",
        &request.request_id,
        &request,
        &mut violations,
    );
    let (token, _) = violations.finish(token.zip(acceptable))?;
    if let Some(user) = credentials.user_of_repeated(record.as_ref()).await? {
        let user = Some(user.into());
        return Ok(ConfirmPasswordResetResponse { user });
    }
    // Looked at before the work of hashing, and again with the change.
    let found = credentials.find_by_token(&token, purpose, context.now).await;
    let (token_hash, user) = match found {
        Ok(found) => found,
        Err(refused) => {
            // The same request may have used the token a moment ago.
            let repeated = credentials.user_of_repeated(record.as_ref()).await?;
            let user = Some(repeated.ok_or(refused)?.into());
            return Ok(ConfirmPasswordResetResponse { user });
        }
    };
    let password = credentials.password_of("new_password", &request.new_password, &user)?;
    let hash = credentials.hasher.hash(password, context.deadline).await?;
    let value = ConfirmOneTimeToken {
        user_id: user.id,
        purpose,
        token_hash,
        change: UserChange::SetPassword(NewPassword {
            hash,
            replaces: None,
            kept_session: None,
            occasion: PasswordOccasion::Reset,
        }),
        now: credentials.authenticator.now(),
    };
    let changed = credentials
        .one_time_tokens
        .confirm(context.command(value, record))
        .await?;
    Ok(ConfirmPasswordResetResponse {
        user: Some(changed.into()),
    })
}
