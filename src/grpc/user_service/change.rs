//! What the RPCs that change the state of a user have in common.

use prost::Message;

use super::Users;
use crate::domain::{UpdateUser, UserChange};
use crate::grpc::call::CallContext;
use crate::grpc::convert;
use crate::grpc::error::ApiError;
use crate::grpc::violations::Violations;
use crate::proto::identity::v1::User;

/// The fields that such a request has.
pub(super) struct StateChange<'a> {
    pub(super) method: &'static str,
    pub(super) user_id: &'a str,
    pub(super) etag: &'a str,
    pub(super) request_id: &'a str,
    /// What happens to the user; `None` if that could not be told, which has been noted.
    pub(super) change: Option<UserChange>,
}

/// Changes the state of a user and returns it as it is afterwards.
pub(super) async fn change_state(
    users: &Users,
    context: &CallContext,
    request: &impl Message,
    fields: StateChange<'_>,
    mut violations: Violations,
) -> Result<Option<User>, ApiError> {
    let id = convert::user_id("user_id", fields.user_id, &mut violations);
    let etag = convert::etag("etag", fields.etag, &mut violations);
    let record = users.fingerprints.record(
        context,
        fields.method,
        fields.request_id,
        request,
        &mut violations,
    );
    let update = || {
        Some(UpdateUser {
            id: id?,
            change: fields.change?,
            etag: etag?,
            now: context.now,
        })
    };
    let value = violations.finish(update())?;
    let user = users.users.change(context.command(value, record)).await?;
    Ok(Some(user.into()))
}
