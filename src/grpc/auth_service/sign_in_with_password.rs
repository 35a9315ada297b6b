//! Signs a user in with a login name and a password.

use super::Auth;
use crate::grpc::call::CallContext;
use crate::grpc::convert;
use crate::grpc::error::ApiError;
use crate::grpc::violations::{Violations, all};
use crate::proto::identity::v1::{SignInWithPasswordRequest, SignInWithPasswordResponse};
use crate::sign_in::Attempt;

pub(super) async fn sign_in_with_password(
    auth: &Auth,
    context: &CallContext,
    request: SignInWithPasswordRequest,
) -> Result<SignInWithPasswordResponse, ApiError> {
    let mut violations = Violations::default();
    let identifier = convert::identifier("identifier", &request.identifier, &mut violations);
    let password = convert::presented_password("password", &request.password, &mut violations);
    let client = convert::client(request.client.as_ref(), &mut violations);
    let (identifier, password, client) = violations.finish(all(identifier, password, client))?;
    let attempt = Attempt {
        password,
        client,
        deadline: context.deadline,
    };
    let signed_in = auth
        .authenticator
        .sign_in_with_password(identifier, attempt)
        .await?;
    Ok(SignInWithPasswordResponse {
        tokens: Some(convert::tokens_to_proto(&signed_in.tokens)),
        user: Some(signed_in.user.into()),
    })
}
