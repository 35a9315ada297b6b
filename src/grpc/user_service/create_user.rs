//! Creates a user.

use super::Users;
use crate::domain::{NewUser, Profile, UserId};
use crate::grpc::call::CallContext;
use crate::grpc::convert;
use crate::grpc::error::ApiError;
use crate::grpc::violations::{Violations, all};
use crate::proto::identity::v1::{CreateUserRequest, CreateUserResponse, User};

pub(super) async fn create_user(
    users: &Users,
    context: &CallContext,
    request: CreateUserRequest,
) -> Result<CreateUserResponse, ApiError> {
    let mut violations = Violations::default();
    let profile = convert::new_profile(
        request.user.as_ref(),
        &users.required_fields,
        context.now,
        &mut violations,
    );
    let none = Profile::default();
    let id = violations.take(
        "user_id",
        convert::optional(&request.user_id, UserId::parse_chosen),
    );
    let password = if request.password.is_empty() {
        Some(None)
    } else {
        let known = profile.as_ref().unwrap_or(&none);
        let (text, policy) = (&request.password, users.password_policy);
        convert::new_password("password", text, policy, known, &mut violations).map(Some)
    };
    let record = users.fingerprints.record(
        context,
        "CreateUser",
        &request.request_id,
        &request,
        &mut violations,
    );
    let (profile, id, password) = violations.finish(all(profile, id, password))?;

    if let Some(record) = &record
        && let Some(created_id) = users.request_ids.find(record.clone()).await?
    {
        // A retry does not hash its password again.
        let user = users.users.get_by_id(created_id).await?;
        return Ok(created(user.into()));
    }
    let password_hash = match password {
        Some(password) => Some(users.hasher.hash(password, context.deadline).await?),
        None => None,
    };
    let value = NewUser {
        id: id.unwrap_or_else(|| UserId::generate(context.now)),
        profile,
        password_hash,
        created_at: context.now,
    };
    let user = users.users.create(context.command(value, record)).await?;
    Ok(created(user.into()))
}

fn created(user: User) -> CreateUserResponse {
    CreateUserResponse { user: Some(user) }
}
