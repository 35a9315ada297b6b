//! Says how long a user or login name has to wait.

use super::Security;
use crate::domain::LockoutSubject;
use crate::grpc::call::CallContext;
use crate::grpc::convert::{self, time_to_proto};
use crate::grpc::error::ApiError;
use crate::grpc::violations::Violations;
use crate::proto::identity::v1::get_lockout_request::Subject;
use crate::proto::identity::v1::{ErrorReason, GetLockoutRequest, GetLockoutResponse, Lockout};

pub(super) async fn get_lockout(
    security: &Security,
    context: &CallContext,
    request: GetLockoutRequest,
) -> Result<GetLockoutResponse, ApiError> {
    let mut violations = Violations::default();
    let subject = match &request.subject {
        Some(Subject::UserId(id)) => {
            convert::user_id("user_id", id, &mut violations).map(LockoutSubject::User)
        }
        Some(Subject::Identifier(text)) => {
            convert::identifier("identifier", text, &mut violations).map(LockoutSubject::Identifier)
        }
        None => {
            let text = "must be a user id or a login name";
            violations.add("subject", ErrorReason::FieldRequired, text);
            None
        }
    };
    let (subject, _) = security.subject(&violations.finish(subject)?).await?;
    let lockout = security.lockouts.get(subject, context.now).await?;
    Ok(GetLockoutResponse {
        lockout: Some(Lockout {
            failed_attempts: lockout.failures,
            retry_time: lockout.retry_at.map(time_to_proto),
            locked_networks: lockout.locked_networks,
            networks_retry_time: lockout.networks_retry_at.map(time_to_proto),
        }),
    })
}
