//! Takes the password of a user away.

use super::Credentials;
use crate::domain::{UpdateUser, UserChange};
use crate::grpc::call::CallContext;
use crate::grpc::convert;
use crate::grpc::error::ApiError;
use crate::grpc::violations::Violations;
use crate::proto::identity::v1::{RemovePasswordRequest, RemovePasswordResponse};

pub(super) async fn remove_password(
    credentials: &Credentials,
    context: &CallContext,
    request: RemovePasswordRequest,
) -> Result<RemovePasswordResponse, ApiError> {
    let mut violations = Violations::default();
    let id = convert::user_id("user_id", &request.user_id, &mut violations);
    let etag = convert::etag("etag", &request.etag, &mut violations);
    let record = credentials.fingerprints.record(
        context,
        "RemovePassword",
        &request.request_id,
        &request,
        &mut violations,
    );
    let (id, etag) = violations.finish(id.zip(etag))?;
    let value = UpdateUser {
        id,
        // Whether the user can sign in without it is known once the user is locked.
        change: UserChange::RemovePassword { instead: None },
        etag,
        now: context.now,
    };
    let changed = credentials.users.change(context.command(value, record)).await?;
    Ok(RemovePasswordResponse {
        user: Some(changed.into()),
    })
}
