//! Ends a session.

use super::Sessions;
use crate::domain::SessionEndReason;
use crate::grpc::call::CallContext;
use crate::grpc::convert;
use crate::grpc::error::ApiError;
use crate::grpc::violations::Violations;
use crate::proto::identity::v1::{RevokeSessionRequest, RevokeSessionResponse};

pub(super) async fn revoke_session(
    sessions: &Sessions,
    context: &CallContext,
    request: RevokeSessionRequest,
) -> Result<RevokeSessionResponse, ApiError> {
    let mut violations = Violations::default();
    let id = convert::session_id("session_id", &request.session_id, &mut violations);
    let id = violations.finish(id)?;
    let (session, _) = sessions
        .sessions
        .end(id, SessionEndReason::Revoked, context.now)
        .await?;
    Ok(RevokeSessionResponse {
        session: Some(session.into()),
    })
}
