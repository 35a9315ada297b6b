//! ListTasks.

use super::TaskServiceImpl;
use super::convert::{List, Page};
use super::error::ApiError;
use crate::access_tokens::UserId;
use crate::proto::tasks::v1::{ListTasksRequest, ListTasksResponse};

pub(super) async fn list_tasks(
    service: &TaskServiceImpl,
    caller: UserId,
    request: ListTasksRequest,
) -> Result<ListTasksResponse, ApiError> {
    let page = Page::read(List::Own, request.page_size, &request.page_token)?;
    let rows = service
        .database
        .list(Some(caller), page.after, page.limit())
        .await?;
    let (tasks, next_page_token) = page.finish(List::Own, rows);
    Ok(ListTasksResponse {
        tasks,
        next_page_token,
    })
}
