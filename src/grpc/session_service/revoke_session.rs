//! Ends a session.

use super::Sessions;
use crate::domain::{EndSession, SessionEndReason};
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
    // Whose a session is never changes, so that it can be looked up before it is ended.
    let session = sessions.sessions.get(id).await?;
    context.check_reach_of_session(&session)?;
    let value = EndSession {
        session_id: id,
        reason: SessionEndReason::Revoked,
        now: context.now,
    };
    let (ended, _) = sessions.sessions.end(context.command(value, None)).await?;
    Ok(RevokeSessionResponse {
        session: Some(ended.into()),
    })
}
