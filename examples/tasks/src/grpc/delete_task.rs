//! DeleteTask.

use super::TaskServiceImpl;
use super::convert::task_id;
use super::error::ApiError;
use crate::access_tokens::UserId;
use crate::proto::tasks::v1::{DeleteTaskRequest, DeleteTaskResponse};

pub(super) async fn delete_task(
    service: &TaskServiceImpl,
    caller: UserId,
    request: DeleteTaskRequest,
) -> Result<DeleteTaskResponse, ApiError> {
    let id = task_id(&request.task_id)?;
    let was_there = service.database.delete(caller, id).await?;
    if was_there {
        Ok(DeleteTaskResponse {})
    } else {
        Err(ApiError::TaskNotFound(id))
    }
}
