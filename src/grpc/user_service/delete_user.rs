//! Deletes a user for good.

use super::Users;
use crate::domain::DeleteUser;
use crate::grpc::call::CallContext;
use crate::grpc::convert;
use crate::grpc::error::ApiError;
use crate::grpc::violations::Violations;
use crate::proto::identity::v1::{DeleteUserRequest, DeleteUserResponse};

pub(super) async fn delete_user(
    users: &Users,
    context: &CallContext,
    request: DeleteUserRequest,
) -> Result<DeleteUserResponse, ApiError> {
    let mut violations = Violations::default();
    let id = convert::user_id("user_id", &request.user_id, &mut violations);
    let etag = convert::etag("etag", &request.etag, &mut violations);
    let record = users.fingerprints.record(
        context,
        "DeleteUser",
        &request.request_id,
        &request,
        &mut violations,
    );
    let value = violations.finish(id.zip(etag).map(|(id, etag)| DeleteUser {
        id,
        etag,
        now: context.now,
    }))?;
    users.users.delete(context.command(value, record)).await?;
    Ok(DeleteUserResponse {})
}
