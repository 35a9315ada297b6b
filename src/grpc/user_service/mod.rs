//! `identity.v1.UserService`.

mod batch_get_users;
mod block_user;
mod change;
mod create_user;
mod deactivate_user;
mod delete_user;
mod export_user;
mod get_user;
mod import_users;
mod list_users;
mod lookup_user;
mod reactivate_user;
mod unblock_user;
mod update_user;
mod watch_users;

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::stream::BoxStream;
use tonic::{Request, Response, Status};

use super::call::CallContext;
use super::{PageTokens, RequestFingerprints, ResumeTokens};
use crate::derived_ids::DerivedIds;
use crate::domain::{PasswordPolicy, ProfileField};
use crate::feed::UserFeed;
use crate::id_tokens::IdTokens;
use crate::password_hashing::PasswordHasher;
use crate::proto::identity::v1::user_service_server::UserService;
use crate::proto::identity::v1::{
    BatchGetUsersRequest, BatchGetUsersResponse, BlockUserRequest, BlockUserResponse, CreateUserRequest,
    CreateUserResponse, DeactivateUserRequest, DeactivateUserResponse, DeleteUserRequest,
    DeleteUserResponse, ExportUserRequest, ExportUserResponse, GetUserRequest, GetUserResponse,
    ImportUsersRequest, ImportUsersResponse, ListUsersRequest, ListUsersResponse, LookupUserRequest,
    LookupUserResponse, ReactivateUserRequest, ReactivateUserResponse, UnblockUserRequest,
    UnblockUserResponse, UpdateUserRequest, UpdateUserResponse, WatchUsersRequest,
};
use crate::repositories::{
    LoginAttemptRepository, OAuthAccountRepository, RequestIdRepository, SessionRepository,
    UserEventRepository, UserRepository,
};

/// Answers the calls of the service.
#[derive(Clone)]
pub struct UserServiceImpl(Arc<Users>);

/// What the RPCs work with.
pub struct Users {
    /// The users.
    pub users: UserRepository,
    /// Their accounts at providers.
    pub oauth_accounts: OAuthAccountRepository,
    /// Their sessions.
    pub sessions: SessionRepository,
    /// Their attempts to sign in.
    pub login_attempts: LoginAttemptRepository,
    /// What happened to them.
    pub user_events: UserEventRepository,
    /// The requests that were carried out.
    pub request_ids: RequestIdRepository,
    /// Hashes passwords.
    pub hasher: PasswordHasher,
    /// What a new password must be like.
    pub password_policy: PasswordPolicy,
    /// What every profile must have.
    pub required_fields: BTreeSet<ProfileField>,
    /// Makes and reads page tokens.
    pub page_tokens: PageTokens,
    /// Tells requests apart.
    pub fingerprints: RequestFingerprints,
    /// The changes.
    pub feed: UserFeed,
    /// Makes and reads resume tokens.
    pub resume_tokens: ResumeTokens,
    /// The providers.
    pub id_tokens: IdTokens,
    /// Makes the ids of users that a repeated import finds again.
    pub derived_ids: DerivedIds,
}

impl UserServiceImpl {
    /// Makes the service.
    #[must_use]
    pub fn new(users: Users) -> Self {
        Self(Arc::new(users))
    }
}

#[tonic::async_trait]
impl UserService for UserServiceImpl {
    async fn create_user(
        &self,
        request: Request<CreateUserRequest>,
    ) -> Result<Response<CreateUserResponse>, Status> {
        let (context, message) = CallContext::split(request)?;
        Ok(Response::new(
            create_user::create_user(&self.0, &context, message).await?,
        ))
    }

    async fn get_user(
        &self,
        request: Request<GetUserRequest>,
    ) -> Result<Response<GetUserResponse>, Status> {
        let (context, message) = CallContext::split(request)?;
        Ok(Response::new(
            get_user::get_user(&self.0, &context, message).await?,
        ))
    }

    async fn lookup_user(
        &self,
        request: Request<LookupUserRequest>,
    ) -> Result<Response<LookupUserResponse>, Status> {
        let (context, message) = CallContext::split(request)?;
        Ok(Response::new(
            lookup_user::lookup_user(&self.0, &context, message).await?,
        ))
    }

    async fn list_users(
        &self,
        request: Request<ListUsersRequest>,
    ) -> Result<Response<ListUsersResponse>, Status> {
        let (context, message) = CallContext::split(request)?;
        Ok(Response::new(
            list_users::list_users(&self.0, &context, message).await?,
        ))
    }

    async fn batch_get_users(
        &self,
        request: Request<BatchGetUsersRequest>,
    ) -> Result<Response<BatchGetUsersResponse>, Status> {
        let (context, message) = CallContext::split(request)?;
        Ok(Response::new(
            batch_get_users::batch_get_users(&self.0, &context, message).await?,
        ))
    }

    type WatchUsersStream = watch_users::WatchUsersStream;

    async fn watch_users(
        &self,
        request: Request<WatchUsersRequest>,
    ) -> Result<Response<Self::WatchUsersStream>, Status> {
        let (context, message) = CallContext::split(request)?;
        Ok(Response::new(
            watch_users::watch_users(&self.0, &context, message).await?,
        ))
    }

    async fn update_user(
        &self,
        request: Request<UpdateUserRequest>,
    ) -> Result<Response<UpdateUserResponse>, Status> {
        let (context, message) = CallContext::split(request)?;
        Ok(Response::new(
            update_user::update_user(&self.0, &context, message).await?,
        ))
    }

    async fn deactivate_user(
        &self,
        request: Request<DeactivateUserRequest>,
    ) -> Result<Response<DeactivateUserResponse>, Status> {
        let (context, message) = CallContext::split(request)?;
        Ok(Response::new(
            deactivate_user::deactivate_user(&self.0, &context, message).await?,
        ))
    }

    async fn reactivate_user(
        &self,
        request: Request<ReactivateUserRequest>,
    ) -> Result<Response<ReactivateUserResponse>, Status> {
        let (context, message) = CallContext::split(request)?;
        Ok(Response::new(
            reactivate_user::reactivate_user(&self.0, &context, message).await?,
        ))
    }

    async fn block_user(
        &self,
        request: Request<BlockUserRequest>,
    ) -> Result<Response<BlockUserResponse>, Status> {
        let (context, message) = CallContext::split(request)?;
        Ok(Response::new(
            block_user::block_user(&self.0, &context, message).await?,
        ))
    }

    async fn unblock_user(
        &self,
        request: Request<UnblockUserRequest>,
    ) -> Result<Response<UnblockUserResponse>, Status> {
        let (context, message) = CallContext::split(request)?;
        Ok(Response::new(
            unblock_user::unblock_user(&self.0, &context, message).await?,
        ))
    }

    async fn delete_user(
        &self,
        request: Request<DeleteUserRequest>,
    ) -> Result<Response<DeleteUserResponse>, Status> {
        let (context, message) = CallContext::split(request)?;
        Ok(Response::new(
            delete_user::delete_user(&self.0, &context, message).await?,
        ))
    }

    async fn import_users(
        &self,
        request: Request<ImportUsersRequest>,
    ) -> Result<Response<ImportUsersResponse>, Status> {
        let (context, message) = CallContext::split(request)?;
        Ok(Response::new(
            import_users::import_users(&self.0, &context, message).await?,
        ))
    }

    type ExportUserStream = BoxStream<'static, Result<ExportUserResponse, Status>>;

    async fn export_user(
        &self,
        request: Request<ExportUserRequest>,
    ) -> Result<Response<Self::ExportUserStream>, Status> {
        let (context, message) = CallContext::split(request)?;
        Ok(Response::new(
            export_user::export_user(&self.0, &context, message).await?,
        ))
    }
}
