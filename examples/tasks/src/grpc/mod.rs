//! `tasks.v1.TaskService`, one RPC per file: who is calling, what is asked for, the query, the answer.

mod callers;
mod claim_task;
mod convert;
mod create_task;
mod delete_task;
mod error;
mod get_task;
mod list_tasks;
mod list_unowned_tasks;
mod update_task;

use tonic::{Request, Response, Status};

pub(crate) use callers::Callers;
use error::ApiError;

use crate::Clock;
use crate::access_tokens::UserId;
use crate::database::Database;
use crate::proto::tasks::v1::task_service_server::TaskService;
use crate::proto::tasks::v1::{
    ClaimTaskRequest, ClaimTaskResponse, CreateTaskRequest, CreateTaskResponse, DeleteTaskRequest,
    DeleteTaskResponse, GetTaskRequest, GetTaskResponse, ListTasksRequest, ListTasksResponse,
    ListUnownedTasksRequest, ListUnownedTasksResponse, UpdateTaskRequest, UpdateTaskResponse,
};

/// The service.
pub(crate) struct TaskServiceImpl {
    pub(crate) database: Database,
    pub(crate) callers: Callers,
    pub(crate) clock: Clock,
}

impl TaskServiceImpl {
    /// Returns who is calling and the message. Whoever does not show a good token learns nothing about the message.
    async fn authenticated<M>(&self, request: Request<M>) -> Result<(UserId, M), ApiError> {
        let caller = self.callers.authenticate(request.metadata()).await?;
        Ok((caller, request.into_inner()))
    }
}

#[tonic::async_trait]
impl TaskService for TaskServiceImpl {
    async fn create_task(
        &self,
        request: Request<CreateTaskRequest>,
    ) -> Result<Response<CreateTaskResponse>, Status> {
        let (caller, message) = self.authenticated(request).await?;
        Ok(Response::new(
            create_task::create_task(self, caller, message).await?,
        ))
    }

    async fn get_task(
        &self,
        request: Request<GetTaskRequest>,
    ) -> Result<Response<GetTaskResponse>, Status> {
        let (caller, message) = self.authenticated(request).await?;
        Ok(Response::new(get_task::get_task(self, caller, message).await?))
    }

    async fn list_tasks(
        &self,
        request: Request<ListTasksRequest>,
    ) -> Result<Response<ListTasksResponse>, Status> {
        let (caller, message) = self.authenticated(request).await?;
        Ok(Response::new(
            list_tasks::list_tasks(self, caller, message).await?,
        ))
    }

    async fn update_task(
        &self,
        request: Request<UpdateTaskRequest>,
    ) -> Result<Response<UpdateTaskResponse>, Status> {
        let (caller, message) = self.authenticated(request).await?;
        Ok(Response::new(
            update_task::update_task(self, caller, message).await?,
        ))
    }

    async fn delete_task(
        &self,
        request: Request<DeleteTaskRequest>,
    ) -> Result<Response<DeleteTaskResponse>, Status> {
        let (caller, message) = self.authenticated(request).await?;
        Ok(Response::new(
            delete_task::delete_task(self, caller, message).await?,
        ))
    }

    async fn list_unowned_tasks(
        &self,
        request: Request<ListUnownedTasksRequest>,
    ) -> Result<Response<ListUnownedTasksResponse>, Status> {
        let (_, message) = self.authenticated(request).await?;
        let answer = list_unowned_tasks::list_unowned_tasks(self, message).await?;
        Ok(Response::new(answer))
    }

    async fn claim_task(
        &self,
        request: Request<ClaimTaskRequest>,
    ) -> Result<Response<ClaimTaskResponse>, Status> {
        let (caller, message) = self.authenticated(request).await?;
        Ok(Response::new(
            claim_task::claim_task(self, caller, message).await?,
        ))
    }
}
