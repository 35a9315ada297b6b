//! ListUnownedTasks.

use super::TaskServiceImpl;
use super::convert::{List, Page};
use super::error::ApiError;
use crate::proto::tasks::v1::{ListUnownedTasksRequest, ListUnownedTasksResponse};

pub(super) async fn list_unowned_tasks(
    service: &TaskServiceImpl,
    request: ListUnownedTasksRequest,
) -> Result<ListUnownedTasksResponse, ApiError> {
    let page = Page::read(List::Unowned, request.page_size, &request.page_token)?;
    let rows = service.database.list(None, page.after, page.limit()).await?;
    let (tasks, next_page_token) = page.finish(List::Unowned, rows);
    Ok(ListUnownedTasksResponse {
        tasks,
        next_page_token,
    })
}
