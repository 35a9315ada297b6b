//! Switches a user off.

use super::Users;
use super::change::{StateChange, change_state};
use crate::domain::UserChange;
use crate::grpc::call::CallContext;
use crate::grpc::error::ApiError;
use crate::grpc::violations::Violations;
use crate::proto::identity::v1::{DeactivateUserRequest, DeactivateUserResponse};

pub(super) async fn deactivate_user(
    users: &Users,
    context: &CallContext,
    request: DeactivateUserRequest,
) -> Result<DeactivateUserResponse, ApiError> {
    let fields = StateChange {
        method: "DeactivateUser",
        user_id: &request.user_id,
        etag: &request.etag,
        request_id: &request.request_id,
        change: Some(UserChange::Deactivate),
    };
    let user = change_state(users, context, &request, fields, Violations::default()).await?;
    Ok(DeactivateUserResponse { user })
}
