//! Says whether an access token is good now, and whose it is.

use super::Auth;
use crate::database::DatabaseError;
use crate::grpc::call::CallContext;
use crate::grpc::convert::{self, time_to_proto};
use crate::grpc::error::ApiError;
use crate::grpc::violations::Violations;
use crate::proto::identity::v1::{IntrospectTokenRequest, IntrospectTokenResponse};
use crate::sign_in::SignInError;

pub(super) async fn introspect_token(
    auth: &Auth,
    _context: &CallContext,
    request: IntrospectTokenRequest,
) -> Result<IntrospectTokenResponse, ApiError> {
    let mut violations = Violations::default();
    let token = convert::token("token", &request.token, &mut violations);
    let token = violations.finish(token)?;
    match auth.authenticator.authenticate(token.reveal()).await {
        Ok(caller) => Ok(IntrospectTokenResponse {
            active: true,
            user_id: caller.claims.user_id.to_string(),
            session_id: caller.claims.session_id.to_string(),
            client_id: caller.claims.client_id.as_str().to_owned(),
            token_id: caller.claims.token_id.to_string(),
            issue_time: Some(time_to_proto(caller.claims.issued_at)),
            expire_time: Some(time_to_proto(caller.claims.expires_at)),
        }),
        // Why not is not said: whoever asks may not be the one the token was issued to.
        Err(SignInError::Database(DatabaseError::Refused(_))) => Ok(IntrospectTokenResponse::default()),
        Err(error) => Err(error.into()),
    }
}
