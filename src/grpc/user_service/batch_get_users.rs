//! Returns several users, or none.

use super::Users;
use crate::domain::UserId;
use crate::grpc::call::CallContext;
use crate::grpc::convert;
use crate::grpc::error::ApiError;
use crate::grpc::violations::Violations;
use crate::proto::identity::v1::{BatchGetUsersRequest, BatchGetUsersResponse, ErrorReason, User};

/// The most users of a call: the largest page of a list.
const MAX_USERS: usize = 100;

pub(super) async fn batch_get_users(
    users: &Users,
    context: &CallContext,
    request: BatchGetUsersRequest,
) -> Result<BatchGetUsersResponse, ApiError> {
    let mut violations = Violations::default();
    if request.user_ids.is_empty() {
        violations.add("user_ids", ErrorReason::FieldRequired, "must name a user");
    }
    if request.user_ids.len() > MAX_USERS {
        violations.add(
            "user_ids",
            ErrorReason::ValueOutOfRange,
            "must name at most 100 users",
        );
        return Err(violations.into());
    }
    let ids: Option<Vec<UserId>> = request
        .user_ids
        .iter()
        .enumerate()
        // Every id is looked at before a missing one ends the collection.
        .map(|(index, id)| convert::user_id(&format!("user_ids[{index}]"), id, &mut violations))
        .collect::<Vec<_>>()
        .into_iter()
        .collect();
    let ids = violations.finish(ids)?;
    for id in &ids {
        context.check_reach(*id)?;
    }
    let found = users.users.get_by_ids(ids).await?;
    Ok(BatchGetUsersResponse {
        users: found.into_iter().map(User::from).collect(),
    })
}
