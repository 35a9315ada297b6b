//! `identity.v1.AuthService`.

mod get_me;
mod introspect_token;
mod list_signing_keys;
mod refresh_tokens;
mod sign_in_with_id_token;
mod sign_in_with_password;
mod sign_out;
mod sign_up;

use std::collections::BTreeSet;
use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::RequestFingerprints;
use super::call::CallContext;
use crate::domain::{PasswordPolicy, ProfileField};
use crate::id_tokens::IdTokens;
use crate::password_hashing::PasswordHasher;
use crate::proto::identity::v1::auth_service_server::AuthService;
use crate::proto::identity::v1::{
    GetMeRequest, GetMeResponse, IntrospectTokenRequest, IntrospectTokenResponse,
    ListSigningKeysRequest, ListSigningKeysResponse, RefreshTokensRequest, RefreshTokensResponse,
    SignInWithIdTokenRequest, SignInWithIdTokenResponse, SignInWithPasswordRequest,
    SignInWithPasswordResponse, SignOutRequest, SignOutResponse, SignUpRequest, SignUpResponse,
};
use crate::repositories::RequestIdRepository;
use crate::sign_in::Authenticator;
use crate::tokens::SigningKeys;

/// Answers the calls of the service.
#[derive(Clone)]
pub struct AuthServiceImpl(Arc<Auth>);

/// What the RPCs work with.
pub struct Auth {
    /// Signs people in.
    pub authenticator: Authenticator,
    /// The keys that tokens can be verified with.
    pub signing_keys: SigningKeys,
    /// The requests that were carried out.
    pub request_ids: RequestIdRepository,
    /// Hashes passwords.
    pub hasher: PasswordHasher,
    /// What a new password must be like.
    pub password_policy: PasswordPolicy,
    /// What every profile must have.
    pub required_fields: BTreeSet<ProfileField>,
    /// Whether people can sign up by themselves.
    pub sign_up: bool,
    /// Tells requests apart.
    pub fingerprints: RequestFingerprints,
    /// The providers.
    pub id_tokens: IdTokens,
}

impl AuthServiceImpl {
    /// Makes the service.
    #[must_use]
    pub fn new(auth: Auth) -> Self {
        Self(Arc::new(auth))
    }
}

#[tonic::async_trait]
impl AuthService for AuthServiceImpl {
    async fn sign_up(
        &self,
        request: Request<SignUpRequest>,
    ) -> Result<Response<SignUpResponse>, Status> {
        let (context, message) = CallContext::split(request)?;
        Ok(Response::new(sign_up::sign_up(&self.0, &context, message).await?))
    }

    async fn sign_in_with_password(
        &self,
        request: Request<SignInWithPasswordRequest>,
    ) -> Result<Response<SignInWithPasswordResponse>, Status> {
        let (context, message) = CallContext::split(request)?;
        Ok(Response::new(
            sign_in_with_password::sign_in_with_password(&self.0, &context, message).await?,
        ))
    }

    async fn sign_in_with_id_token(
        &self,
        request: Request<SignInWithIdTokenRequest>,
    ) -> Result<Response<SignInWithIdTokenResponse>, Status> {
        let (context, message) = CallContext::split(request)?;
        Ok(Response::new(
            sign_in_with_id_token::sign_in_with_id_token(&self.0, &context, message).await?,
        ))
    }

    async fn refresh_tokens(
        &self,
        request: Request<RefreshTokensRequest>,
    ) -> Result<Response<RefreshTokensResponse>, Status> {
        let (context, message) = CallContext::split(request)?;
        Ok(Response::new(
            refresh_tokens::refresh_tokens(&self.0, &context, message).await?,
        ))
    }

    async fn sign_out(
        &self,
        request: Request<SignOutRequest>,
    ) -> Result<Response<SignOutResponse>, Status> {
        let (context, message) = CallContext::split(request)?;
        Ok(Response::new(
            sign_out::sign_out(&self.0, &context, message).await?,
        ))
    }

    async fn get_me(&self, request: Request<GetMeRequest>) -> Result<Response<GetMeResponse>, Status> {
        let (context, message) = CallContext::split(request)?;
        Ok(Response::new(get_me::get_me(&self.0, context, message).await?))
    }

    async fn introspect_token(
        &self,
        request: Request<IntrospectTokenRequest>,
    ) -> Result<Response<IntrospectTokenResponse>, Status> {
        let (context, message) = CallContext::split(request)?;
        Ok(Response::new(
            introspect_token::introspect_token(&self.0, &context, message).await?,
        ))
    }

    async fn list_signing_keys(
        &self,
        request: Request<ListSigningKeysRequest>,
    ) -> Result<Response<ListSigningKeysResponse>, Status> {
        let (context, message) = CallContext::split(request)?;
        Ok(Response::new(
            list_signing_keys::list_signing_keys(&self.0, &context, message).await?,
        ))
    }
}
