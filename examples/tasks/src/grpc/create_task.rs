//! CreateTask.

use super::TaskServiceImpl;
use super::convert::read_title;
use super::error::{ApiError, Violations};
use crate::access_tokens::UserId;
use crate::database::rows::NewTask;
use crate::proto::tasks::v1::{CreateTaskRequest, CreateTaskResponse, ErrorReason};

pub(super) async fn create_task(
    service: &TaskServiceImpl,
    caller: UserId,
    request: CreateTaskRequest,
) -> Result<CreateTaskResponse, ApiError> {
    let mut violations = Violations::default();
    let fields = match request.task {
        Some(task) => read_title(&mut violations, task.title).map(|title| (title, task.done)),
        None => {
            violations.add("task", ErrorReason::FieldRequired, "is required");
            None
        }
    };
    let (title, done) = violations.finish(fields)?;
    let task = NewTask::new(caller, title, done, (service.clock)());
    let created = service.database.create(task).await?;
    Ok(CreateTaskResponse {
        task: Some(created.into()),
    })
}
