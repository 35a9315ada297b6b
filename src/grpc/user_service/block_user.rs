//! Blocks a user.

use super::Users;
use super::change::{StateChange, change_state};
use crate::domain::{BlockReason, UserChange};
use crate::grpc::call::CallContext;
use crate::grpc::convert;
use crate::grpc::error::ApiError;
use crate::grpc::violations::Violations;
use crate::proto::identity::v1::{BlockUserRequest, BlockUserResponse};

pub(super) async fn block_user(
    users: &Users,
    context: &CallContext,
    request: BlockUserRequest,
) -> Result<BlockUserResponse, ApiError> {
    let mut violations = Violations::default();
    let reason = violations.take("reason", convert::optional(&request.reason, BlockReason::parse));
    let fields = StateChange {
        method: "BlockUser",
        user_id: &request.user_id,
        etag: &request.etag,
        request_id: &request.request_id,
        change: reason.map(UserChange::Block),
    };
    let user = change_state(users, context, &request, fields, violations).await?;
    Ok(BlockUserResponse { user })
}
