//! Changes the profile of a user.

use std::collections::BTreeSet;

use super::Users;
use crate::domain::{
    Email, FullName, Invalid, ProfileField, ProfileUpdate, UpdateUser, UserChange, Username,
};
use crate::grpc::authorize::Caller;
use crate::grpc::call::CallContext;
use crate::grpc::convert::{self, has_value};
use crate::grpc::error::ApiError;
use crate::grpc::violations::Violations;
use crate::proto::identity::v1::{ErrorReason, UpdateUserRequest, UpdateUserResponse, User};

/// The fields of a user that only the server sets.
const OUTPUT_ONLY: [&str; 10] = [
    "id",
    "email_verified",
    "auth_provider",
    "is_active",
    "is_blocked",
    "block_reason",
    "password_set",
    "create_time",
    "update_time",
    "etag",
];

pub(super) async fn update_user(
    users: &Users,
    context: &CallContext,
    request: UpdateUserRequest,
) -> Result<UpdateUserResponse, ApiError> {
    let mut violations = Violations::default();
    let record = users.fingerprints.record(
        context,
        "UpdateUser",
        &request.request_id,
        &request,
        &mut violations,
    );
    let Some(user) = &request.user else {
        let _: Option<()> = violations.take("user", Err(Invalid::required("must be given")));
        return Err(violations.into());
    };
    let id = convert::user_id("user.id", &user.id, &mut violations);
    let etag = convert::etag("user.etag", &user.etag, &mut violations);
    let paths = request.update_mask.as_ref().map(|mask| mask.paths.as_slice());
    let fields = masked_fields(user, paths.unwrap_or_default(), &mut violations);
    for field in fields
        .iter()
        .filter(|field| users.required_fields.contains(field))
    {
        if !has_value(user, *field) {
            let name = format!("user.{}", field.name());
            violations.add(&name, ErrorReason::FieldRequired, "cannot be cleared");
        }
    }
    if matches!(context.caller, Caller::User(_)) {
        keep_login_names(&fields, &mut violations);
    }
    let update = profile_update(user, &fields, context, &mut violations);
    let update = || {
        Some(UpdateUser {
            id: id?,
            change: UserChange::UpdateProfile(update?),
            etag: etag?,
            now: context.now,
        })
    };
    let value = violations.finish(update())?;
    context.check_reach(value.id)?;
    let changed = users.users.change(context.command(value, record)).await?;
    Ok(UpdateUserResponse {
        user: Some(changed.into()),
    })
}

/// Notes fields that a user cannot change alone: an access token that fell into the wrong hands must not be enough to
/// take the account over.
fn keep_login_names(fields: &BTreeSet<ProfileField>, violations: &mut Violations) {
    for field in [ProfileField::Email, ProfileField::Username] {
        if fields.contains(&field) {
            let name = format!("user.{}", field.name());
            let text = "can be changed by a service only";
            violations.add(&name, ErrorReason::FieldNotWritable, text);
        }
    }
}

/// Returns the fields that a mask names: without a mask those that have a value, with `*` all.
fn masked_fields(user: &User, paths: &[String], violations: &mut Violations) -> BTreeSet<ProfileField> {
    /// One violation for each of them would make the answer larger than the request.
    const MAX_PATHS: usize = 32;
    if paths.is_empty() {
        return ProfileField::ALL
            .into_iter()
            .filter(|field| has_value(user, *field))
            .collect();
    }
    if matches!(paths, [path] if path == "*") {
        return ProfileField::ALL.into_iter().collect();
    }
    if paths.len() > MAX_PATHS {
        violations.add(
            "update_mask",
            ErrorReason::ValueOutOfRange,
            "must have at most 32 paths",
        );
        return BTreeSet::new();
    }
    let mut fields = BTreeSet::new();
    for (index, path) in paths.iter().enumerate() {
        let at = format!("update_mask.paths[{index}]");
        match ProfileField::from_name(path) {
            Some(field) if fields.insert(field) => {}
            Some(_) => violations.add(&at, ErrorReason::DuplicateValue, "is there already"),
            None if OUTPUT_ONLY.contains(&path.as_str()) => {
                violations.add(&at, ErrorReason::FieldNotWritable, "is set by the server alone");
            }
            None => violations.add(
                &at,
                ErrorReason::UnknownFieldPath,
                "is none of email, username, full_name and birth_date",
            ),
        }
    }
    fields
}

/// Converts the fields that are changed; the others are not even looked at.
fn profile_update(
    user: &User,
    fields: &BTreeSet<ProfileField>,
    context: &CallContext,
    violations: &mut Violations,
) -> Option<ProfileUpdate> {
    let mut update = ProfileUpdate::default();
    for field in fields {
        match field {
            ProfileField::Email => {
                let email = convert::optional(&user.email, Email::parse);
                update.email = violations.take("user.email", email);
            }
            ProfileField::Username => {
                let username = convert::optional(&user.username, Username::parse);
                update.username = violations.take("user.username", username);
            }
            ProfileField::FullName => {
                let full_name = convert::optional(&user.full_name, FullName::parse);
                update.full_name = violations.take("user.full_name", full_name);
            }
            ProfileField::BirthDate => {
                let birth_date = convert::birth_date(user.birth_date.as_ref(), context.now);
                update.birth_date = violations.take("user.birth_date", birth_date);
            }
        }
    }
    Some(update)
}
