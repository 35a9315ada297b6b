//! GetTask.

use super::TaskServiceImpl;
use super::convert::task_id;
use super::error::ApiError;
use crate::access_tokens::UserId;
use crate::proto::tasks::v1::{GetTaskRequest, GetTaskResponse};

pub(super) async fn get_task(
    service: &TaskServiceImpl,
    caller: UserId,
    request: GetTaskRequest,
) -> Result<GetTaskResponse, ApiError> {
    let id = task_id(&request.task_id)?;
    let task = service.database.get(caller, id).await?;
    let task = task.ok_or(ApiError::TaskNotFound(id))?;
    Ok(GetTaskResponse {
        task: Some(task.into()),
    })
}
