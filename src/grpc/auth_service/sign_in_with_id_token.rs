//! Signs a user in with an ID token of a provider.

use super::Auth;
use crate::grpc::call::CallContext;
use crate::grpc::convert;
use crate::grpc::error::ApiError;
use crate::grpc::violations::{Violations, all};
use crate::proto::identity::v1::{SignInWithIdTokenRequest, SignInWithIdTokenResponse};
use crate::sign_in::{IdTokenAttempt, SignedInWithIdToken};

pub(super) async fn sign_in_with_id_token(
    auth: &Auth,
    context: &CallContext,
    request: SignInWithIdTokenRequest,
) -> Result<SignInWithIdTokenResponse, ApiError> {
    let mut violations = Violations::default();
    let provider = convert::provider("provider", &request.provider, &auth.id_tokens, &mut violations);
    let token = convert::id_token("id_token", &request.id_token, &mut violations);
    let nonce = convert::nonce("nonce", &request.nonce, &mut violations);
    let client = convert::client(request.client.as_ref(), &mut violations);
    let profile = convert::profile_without_email(request.user.as_ref(), context.now, &mut violations);
    let ((provider, token, nonce), client, profile) =
        violations.finish(all(all(provider, token, nonce), client, profile))?;
    let attempt = IdTokenAttempt {
        provider,
        token,
        nonce,
        client,
        profile,
        origin: context.origin(),
    };
    let SignedInWithIdToken { signed_in, is_new } =
        auth.authenticator.sign_in_with_id_token(attempt).await?;
    Ok(SignInWithIdTokenResponse {
        tokens: Some(convert::tokens_to_proto(&signed_in.tokens)),
        user: Some(signed_in.user.into()),
        user_created: is_new,
    })
}
