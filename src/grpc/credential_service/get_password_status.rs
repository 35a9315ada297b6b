//! Says whether a user has a password, and since when.

use super::Credentials;
use crate::grpc::call::CallContext;
use crate::grpc::convert::{self, time_to_proto};
use crate::grpc::error::ApiError;
use crate::grpc::violations::Violations;
use crate::proto::identity::v1::{GetPasswordStatusRequest, GetPasswordStatusResponse};

pub(super) async fn get_password_status(
    credentials: &Credentials,
    context: &CallContext,
    request: GetPasswordStatusRequest,
) -> Result<GetPasswordStatusResponse, ApiError> {
    let mut violations = Violations::default();
    let id = convert::user_id("user_id", &request.user_id, &mut violations);
    let id = violations.finish(id)?;
    context.check_reach(id)?;
    let user = credentials.users.get_by_id(id).await?;
    Ok(GetPasswordStatusResponse {
        password_set: user.has_password(),
        change_time: user.password_changed_at.map(time_to_proto),
    })
}
