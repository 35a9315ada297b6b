//! Gives a user a password.

use super::Credentials;
use crate::domain::{NewPassword, PasswordOccasion, UpdateUser, UserChange};
use crate::grpc::call::CallContext;
use crate::grpc::convert;
use crate::grpc::error::ApiError;
use crate::grpc::violations::{Violations, all};
use crate::proto::identity::v1::{SetPasswordRequest, SetPasswordResponse};

pub(super) async fn set_password(
    credentials: &Credentials,
    context: &CallContext,
    request: SetPasswordRequest,
) -> Result<SetPasswordResponse, ApiError> {
    let mut violations = Violations::default();
    let id = convert::user_id("user_id", &request.user_id, &mut violations);
    let etag = convert::etag("etag", &request.etag, &mut violations);
    let acceptable = credentials.stranger_password("password", &request.password, &mut violations);
    let record = credentials.fingerprints.record(
        context,
        "SetPassword",
        &request.request_id,
        &request,
        &mut violations,
    );
    let (id, etag, _) = violations.finish(all(id, etag, acceptable))?;
    let user = credentials.users.get_by_id(id).await?;
    if credentials.is_repeated(record.as_ref()).await? {
        let user = Some(user.into());
        return Ok(SetPasswordResponse { user });
    }
    let password = credentials.password_of("password", &request.password, &user)?;
    let hash = credentials.hasher.hash(password, context.deadline).await?;
    let value = UpdateUser {
        id,
        change: UserChange::SetPassword(NewPassword {
            hash,
            replaces: None,
            kept_session: None,
            occasion: PasswordOccasion::Set,
        }),
        etag,
        now: credentials.authenticator.now(),
    };
    let changed = credentials.users.change(context.command(value, record)).await?;
    Ok(SetPasswordResponse {
        user: Some(changed.into()),
    })
}
