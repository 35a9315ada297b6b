//! Returns a session.

use super::Sessions;
use crate::grpc::call::CallContext;
use crate::grpc::convert;
use crate::grpc::error::ApiError;
use crate::grpc::violations::Violations;
use crate::proto::identity::v1::{GetSessionRequest, GetSessionResponse};

pub(super) async fn get_session(
    sessions: &Sessions,
    context: &CallContext,
    request: GetSessionRequest,
) -> Result<GetSessionResponse, ApiError> {
    let mut violations = Violations::default();
    let id = convert::session_id("session_id", &request.session_id, &mut violations);
    let session = sessions.sessions.get(violations.finish(id)?).await?;
    context.check_reach_of_session(&session)?;
    Ok(GetSessionResponse {
        session: Some(session.into()),
    })
}
