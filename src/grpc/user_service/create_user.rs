//! Creates a user.

use super::Users;
use crate::domain::{Invalid, NewUser, Password, Profile, ProfileField, UserId, WithRequest};
use crate::grpc::call::CallContext;
use crate::grpc::convert::{self, has_value};
use crate::grpc::error::ApiError;
use crate::grpc::violations::Violations;
use crate::proto::identity::v1::{CreateUserRequest, CreateUserResponse, ErrorReason, User};

pub(super) async fn create_user(
    users: &Users,
    context: &CallContext,
    request: CreateUserRequest,
) -> Result<CreateUserResponse, ApiError> {
    let mut violations = Violations::default();
    let profile = profile(users, context, request.user.as_ref(), &mut violations);
    let none = Profile::default();
    let id = violations.take(
        "user_id",
        convert::optional(&request.user_id, UserId::parse_chosen),
    );
    let password = violations.take(
        "password",
        convert::optional(&request.password, |text| {
            let known = profile.as_ref().unwrap_or(&none);
            Password::parse_new(text, users.password_policy, known)
        }),
    );
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
        Some(password) => Some(users.hasher.hash(password).await?),
        None => None,
    };
    let value = NewUser {
        id: id.unwrap_or_else(|| UserId::generate(context.now)),
        profile,
        password_hash,
        created_at: context.now,
    };
    let user = users
        .users
        .create(WithRequest {
            value,
            request: record,
        })
        .await?;
    Ok(created(user.into()))
}

fn created(user: User) -> CreateUserResponse {
    CreateUserResponse { user: Some(user) }
}

fn all<A, B, C>(a: Option<A>, b: Option<B>, c: Option<C>) -> Option<(A, B, C)> {
    Some((a?, b?, c?))
}

fn profile(
    users: &Users,
    context: &CallContext,
    user: Option<&User>,
    violations: &mut Violations,
) -> Option<Profile> {
    let Some(user) = user else {
        let _: Option<()> = violations.take("user", Err(Invalid::required("must be given")));
        return None;
    };
    for field in users
        .required_fields
        .iter()
        .filter(|field| !has_value(user, **field))
    {
        let name = format!("user.{}", field.name());
        violations.add(&name, ErrorReason::FieldRequired, "must be given");
    }
    let has_identifier = !user.email.is_empty() || !user.username.is_empty();
    let asks_for_identifier = [ProfileField::Email, ProfileField::Username]
        .iter()
        .any(|field| users.required_fields.contains(field));
    if !has_identifier && !asks_for_identifier {
        let text = "a user needs an email or a username";
        violations.add("user.email", ErrorReason::FieldRequired, text);
    }
    convert::profile(user, context.now, violations)
}
