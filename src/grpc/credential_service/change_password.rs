//! Changes the password of the user who is calling.

use super::Credentials;
use crate::domain::{NewPassword, PasswordOccasion, Refusal, UpdateUser, UserChange};
use crate::grpc::call::CallContext;
use crate::grpc::convert;
use crate::grpc::error::ApiError;
use crate::grpc::violations::{Violations, all};
use crate::proto::identity::v1::{ChangePasswordRequest, ChangePasswordResponse, ErrorReason};
use crate::sign_in::Attempt;

pub(super) async fn change_password(
    credentials: &Credentials,
    context: &CallContext,
    request: ChangePasswordRequest,
) -> Result<ChangePasswordResponse, ApiError> {
    let mut violations = Violations::default();
    let current =
        convert::presented_password("current_password", &request.current_password, &mut violations);
    let acceptable =
        credentials.stranger_password("new_password", &request.new_password, &mut violations);
    let is_unchanged = match (&current, &acceptable) {
        (Some(current), Some(acceptable)) => current.is(acceptable),
        _ => false,
    };
    if is_unchanged {
        let text = "must be another one than the current password";
        violations.add("new_password", ErrorReason::PasswordUnchanged, text);
    }
    let client = convert::client(request.client.as_ref(), &mut violations);
    let record = credentials.fingerprints.record(
        context,
        "ChangePassword",
        &request.request_id,
        &request,
        &mut violations,
    );
    let (current, _, client) = violations.finish(all(current, acceptable, client))?;

    // The change made the access token inactive that comes with a repetition; the record is the user's own.
    if let Some(user) = credentials.user_of_repeated(record.as_ref()).await? {
        let user = Some(user.into());
        return Ok(ChangePasswordResponse { user });
    }
    let caller = context.caller.clone().into_user()?;
    let attempt = Attempt {
        password: current,
        client,
        deadline: context.deadline,
    };
    let user = caller.user;
    let id = user.id;
    let password = credentials.password_of("new_password", &request.new_password, &user)?;
    let verified = credentials
        .authenticator
        .check_password_of(user, attempt)
        .await?
        .ok_or(Refusal::InvalidCredentials)?;
    let hash = credentials.hasher.hash(password, context.deadline).await?;
    let value = UpdateUser {
        id,
        change: UserChange::SetPassword(NewPassword {
            hash,
            replaces: Some(verified),
            kept_session: Some(caller.session.id),
            occasion: PasswordOccasion::Changed,
        }),
        etag: None,
        now: credentials.authenticator.now(),
    };
    let changed = credentials.users.change(context.command(value, record)).await?;
    Ok(ChangePasswordResponse {
        user: Some(changed.into()),
    })
}
