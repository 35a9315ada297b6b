//! Switches a user on.

use super::Users;
use super::change::{StateChange, change_state};
use crate::domain::UserChange;
use crate::grpc::call::CallContext;
use crate::grpc::error::ApiError;
use crate::grpc::violations::Violations;
use crate::proto::identity::v1::{ReactivateUserRequest, ReactivateUserResponse};

pub(super) async fn reactivate_user(
    users: &Users,
    context: &CallContext,
    request: ReactivateUserRequest,
) -> Result<ReactivateUserResponse, ApiError> {
    let fields = StateChange {
        method: "ReactivateUser",
        user_id: &request.user_id,
        etag: &request.etag,
        request_id: &request.request_id,
        change: Some(UserChange::Reactivate),
    };
    let user = change_state(users, context, &request, fields, Violations::default()).await?;
    Ok(ReactivateUserResponse { user })
}
