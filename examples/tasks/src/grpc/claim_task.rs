//! ClaimTask.

use super::TaskServiceImpl;
use super::convert::task_id;
use super::error::ApiError;
use crate::access_tokens::UserId;
use crate::proto::tasks::v1::{ClaimTaskRequest, ClaimTaskResponse};

pub(super) async fn claim_task(
    service: &TaskServiceImpl,
    caller: UserId,
    request: ClaimTaskRequest,
) -> Result<ClaimTaskResponse, ApiError> {
    let id = task_id(&request.task_id)?;
    let task = service.database.claim(caller, id, (service.clock)()).await?;
    let task = task.ok_or(ApiError::TaskNotFound(id))?;
    Ok(ClaimTaskResponse {
        task: Some(task.into()),
    })
}
