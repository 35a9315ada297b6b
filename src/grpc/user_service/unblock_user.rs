//! Lifts the block of a user.

use super::Users;
use super::change::{StateChange, change_state};
use crate::domain::UserChange;
use crate::grpc::call::CallContext;
use crate::grpc::error::ApiError;
use crate::grpc::violations::Violations;
use crate::proto::identity::v1::{UnblockUserRequest, UnblockUserResponse};

pub(super) async fn unblock_user(
    users: &Users,
    context: &CallContext,
    request: UnblockUserRequest,
) -> Result<UnblockUserResponse, ApiError> {
    let fields = StateChange {
        method: "UnblockUser",
        user_id: &request.user_id,
        etag: &request.etag,
        request_id: &request.request_id,
        change: Some(UserChange::Unblock),
    };
    let user = change_state(users, context, &request, fields, Violations::default()).await?;
    Ok(UnblockUserResponse { user })
}
