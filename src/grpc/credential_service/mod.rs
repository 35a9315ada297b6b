//! `identity.v1.CredentialService`.

mod change_password;
mod confirm_email_verification;
mod confirm_password_reset;
mod create_email_verification;
mod create_password_reset;
mod get_password_status;
mod one_time_tokens;
mod passwords;
mod remove_password;
mod set_password;
mod verify_password;

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::RequestFingerprints;
use super::call::CallContext;
use crate::config::OneTimeTokenLifetimes;
use crate::domain::PasswordPolicy;
use crate::password_hashing::PasswordHasher;
use crate::proto::identity::v1::credential_service_server::CredentialService;
use crate::proto::identity::v1::{
    ChangePasswordRequest, ChangePasswordResponse, ConfirmEmailVerificationRequest,
    ConfirmEmailVerificationResponse, ConfirmPasswordResetRequest, ConfirmPasswordResetResponse,
    CreateEmailVerificationRequest, CreateEmailVerificationResponse, CreatePasswordResetRequest,
    CreatePasswordResetResponse, GetPasswordStatusRequest, GetPasswordStatusResponse,
    RemovePasswordRequest, RemovePasswordResponse, SetPasswordRequest, SetPasswordResponse,
    VerifyPasswordRequest, VerifyPasswordResponse,
};
use crate::repositories::{OneTimeTokenRepository, RequestIdRepository, UserRepository};
use crate::sign_in::Authenticator;

/// Answers the calls of the service.
#[derive(Clone)]
pub struct CredentialServiceImpl(Arc<Credentials>);

/// What the RPCs work with.
pub struct Credentials {
    /// Checks passwords and access tokens.
    pub authenticator: Authenticator,
    /// The users.
    pub users: UserRepository,
    /// The one-time tokens.
    pub one_time_tokens: OneTimeTokenRepository,
    /// The requests that were carried out.
    pub request_ids: RequestIdRepository,
    /// Hashes passwords.
    pub hasher: PasswordHasher,
    /// What a new password must be like.
    pub password_policy: PasswordPolicy,
    /// How long one-time tokens live.
    pub lifetimes: OneTimeTokenLifetimes,
    /// Tells requests apart.
    pub fingerprints: RequestFingerprints,
}

impl CredentialServiceImpl {
    /// Makes the service.
    #[must_use]
    pub fn new(credentials: Credentials) -> Self {
        Self(Arc::new(credentials))
    }
}

#[tonic::async_trait]
impl CredentialService for CredentialServiceImpl {
    async fn set_password(
        &self,
        request: Request<SetPasswordRequest>,
    ) -> Result<Response<SetPasswordResponse>, Status> {
        let (context, message) = CallContext::split(request)?;
        Ok(Response::new(
            set_password::set_password(&self.0, &context, message).await?,
        ))
    }

    async fn change_password(
        &self,
        request: Request<ChangePasswordRequest>,
    ) -> Result<Response<ChangePasswordResponse>, Status> {
        let (context, message) = CallContext::split(request)?;
        Ok(Response::new(
            change_password::change_password(&self.0, &context, message).await?,
        ))
    }

    async fn verify_password(
        &self,
        request: Request<VerifyPasswordRequest>,
    ) -> Result<Response<VerifyPasswordResponse>, Status> {
        let (context, message) = CallContext::split(request)?;
        Ok(Response::new(
            verify_password::verify_password(&self.0, &context, message).await?,
        ))
    }

    async fn get_password_status(
        &self,
        request: Request<GetPasswordStatusRequest>,
    ) -> Result<Response<GetPasswordStatusResponse>, Status> {
        let (context, message) = CallContext::split(request)?;
        Ok(Response::new(
            get_password_status::get_password_status(&self.0, &context, message).await?,
        ))
    }

    async fn remove_password(
        &self,
        request: Request<RemovePasswordRequest>,
    ) -> Result<Response<RemovePasswordResponse>, Status> {
        let (context, message) = CallContext::split(request)?;
        Ok(Response::new(
            remove_password::remove_password(&self.0, &context, message).await?,
        ))
    }

    async fn create_password_reset(
        &self,
        request: Request<CreatePasswordResetRequest>,
    ) -> Result<Response<CreatePasswordResetResponse>, Status> {
        let (context, message) = CallContext::split(request)?;
        Ok(Response::new(
            create_password_reset::create_password_reset(&self.0, &context, message).await?,
        ))
    }

    async fn confirm_password_reset(
        &self,
        request: Request<ConfirmPasswordResetRequest>,
    ) -> Result<Response<ConfirmPasswordResetResponse>, Status> {
        let (context, message) = CallContext::split(request)?;
        Ok(Response::new(
            confirm_password_reset::confirm_password_reset(&self.0, &context, message).await?,
        ))
    }

    async fn create_email_verification(
        &self,
        request: Request<CreateEmailVerificationRequest>,
    ) -> Result<Response<CreateEmailVerificationResponse>, Status> {
        let (context, message) = CallContext::split(request)?;
        Ok(Response::new(
            create_email_verification::create_email_verification(&self.0, &context, message).await?,
        ))
    }

    async fn confirm_email_verification(
        &self,
        request: Request<ConfirmEmailVerificationRequest>,
    ) -> Result<Response<ConfirmEmailVerificationResponse>, Status> {
        let (context, message) = CallContext::split(request)?;
        Ok(Response::new(
            confirm_email_verification::confirm_email_verification(&self.0, &context, message).await?,
        ))
    }
}
