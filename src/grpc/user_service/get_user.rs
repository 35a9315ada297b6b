//! Returns the user with an id.

use super::Users;
use crate::grpc::call::CallContext;
use crate::grpc::convert;
use crate::grpc::error::ApiError;
use crate::grpc::violations::Violations;
use crate::proto::identity::v1::{GetUserRequest, GetUserResponse};

pub(super) async fn get_user(
    users: &Users,
    context: &CallContext,
    request: GetUserRequest,
) -> Result<GetUserResponse, ApiError> {
    let mut violations = Violations::default();
    let id = convert::user_id("user_id", &request.user_id, &mut violations);
    let id = violations.finish(id)?;
    context.check_reach(id)?;
    let user = users.users.get_by_id(id).await?;
    Ok(GetUserResponse {
        user: Some(user.into()),
    })
}
