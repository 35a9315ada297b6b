//! Ends every session of a user.

use super::Sessions;
use crate::domain::{EndSessions, SessionEndReason};
use crate::grpc::call::CallContext;
use crate::grpc::convert;
use crate::grpc::error::ApiError;
use crate::grpc::violations::Violations;
use crate::proto::identity::v1::{RevokeAllSessionsRequest, RevokeAllSessionsResponse};

pub(super) async fn revoke_all_sessions(
    sessions: &Sessions,
    context: &CallContext,
    request: RevokeAllSessionsRequest,
) -> Result<RevokeAllSessionsResponse, ApiError> {
    let mut violations = Violations::default();
    let id = convert::user_id("user_id", &request.user_id, &mut violations);
    let user_id = violations.finish(id)?;
    context.check_reach(user_id)?;
    let value = EndSessions {
        user_id,
        reason: SessionEndReason::Revoked,
        except: None,
        now: context.now,
    };
    let ended = sessions.sessions.end_all(context.command(value, None)).await?;
    Ok(RevokeAllSessionsResponse {
        ended_sessions: convert::to_count(ended),
    })
}
