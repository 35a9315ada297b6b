//! UpdateTask.

use prost_types::FieldMask;

use super::TaskServiceImpl;
use super::convert::{read_id, read_title};
use super::error::{ApiError, Violations};
use crate::access_tokens::UserId;
use crate::database::rows::TaskChange;
use crate::proto::tasks::v1::{ErrorReason, Task, UpdateTaskRequest, UpdateTaskResponse};

pub(super) async fn update_task(
    service: &TaskServiceImpl,
    caller: UserId,
    request: UpdateTaskRequest,
) -> Result<UpdateTaskResponse, ApiError> {
    let mut violations = Violations::default();
    let Some(task) = request.task else {
        violations.add("task", ErrorReason::FieldRequired, "is required");
        return Err(ApiError::Invalid(violations));
    };
    let id = read_id(&mut violations, "task.id", &task.id);
    let fields = Fields::of(&mut violations, request.update_mask, &task);
    let title = fields
        .title
        .then(|| read_title(&mut violations, task.title))
        .flatten();
    let id = violations.finish(id)?;
    let change = TaskChange::new(title, fields.done.then_some(task.done), (service.clock)());
    let changed = service.database.update(caller, id, change).await?;
    let changed = changed.ok_or(ApiError::TaskNotFound(id))?;
    Ok(UpdateTaskResponse {
        task: Some(changed.into()),
    })
}

/// The fields to change.
#[derive(Debug, Default)]
struct Fields {
    title: bool,
    done: bool,
}

impl Fields {
    /// Reads the mask, or notes what is wrong with it. Without one, the fields count that are populated.
    fn of(violations: &mut Violations, mask: Option<FieldMask>, task: &Task) -> Self {
        let Some(mask) = mask else {
            return Self {
                title: !task.title.is_empty(),
                done: task.done,
            };
        };
        let mut fields = Self::default();
        for (index, path) in mask.paths.iter().enumerate() {
            let field = || format!("update_mask.paths[{index}]");
            match path.as_str() {
                "*" => {
                    fields.title = true;
                    fields.done = true;
                }
                "title" => fields.title = true,
                "done" => fields.done = true,
                "id" | "create_time" | "update_time" => {
                    violations.add(field(), ErrorReason::FieldNotWritable, "is set by the server");
                }
                _ => violations.add(field(), ErrorReason::UnknownFieldPath, "is no field of a task"),
            }
        }
        fields
    }
}
