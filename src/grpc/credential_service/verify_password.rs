//! Says whether a password is a user's.

use super::Credentials;
use crate::grpc::call::CallContext;
use crate::grpc::convert;
use crate::grpc::error::ApiError;
use crate::grpc::violations::{Violations, all};
use crate::proto::identity::v1::{VerifyPasswordRequest, VerifyPasswordResponse};
use crate::sign_in::Attempt;

pub(super) async fn verify_password(
    credentials: &Credentials,
    context: &CallContext,
    request: VerifyPasswordRequest,
) -> Result<VerifyPasswordResponse, ApiError> {
    let mut violations = Violations::default();
    let id = convert::user_id("user_id", &request.user_id, &mut violations);
    let password = convert::presented_password("password", &request.password, &mut violations);
    let client = convert::client(request.client.as_ref(), &mut violations);
    let (id, password, client) = violations.finish(all(id, password, client))?;
    let user = credentials.users.get_by_id(id).await?;
    let attempt = Attempt {
        password,
        client,
        deadline: context.deadline,
    };
    let matches = credentials
        .authenticator
        .check_password_of(user, attempt)
        .await?
        .is_some();
    Ok(VerifyPasswordResponse { matches })
}
