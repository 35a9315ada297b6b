//! Forgets the failures of a user or login name.

use super::Security;
use crate::domain::{ClearLockout, LockoutSubject};
use crate::grpc::call::CallContext;
use crate::grpc::convert;
use crate::grpc::error::ApiError;
use crate::grpc::violations::Violations;
use crate::proto::identity::v1::clear_lockout_request::Subject;
use crate::proto::identity::v1::{ClearLockoutRequest, ClearLockoutResponse, ErrorReason};

pub(super) async fn clear_lockout(
    security: &Security,
    context: &CallContext,
    request: ClearLockoutRequest,
) -> Result<ClearLockoutResponse, ApiError> {
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
    let (subject, user_id) = security.subject(&violations.finish(subject)?).await?;
    let value = ClearLockout {
        subject,
        user_id,
        now: context.now,
    };
    security.lockouts.clear(context.command(value, None)).await?;
    Ok(ClearLockoutResponse {})
}
