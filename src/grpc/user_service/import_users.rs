//! Creates users that come from another system.

use super::Users;
use crate::domain::{
    FirebasePassword, ForeignPassword, ForeignPasswordHash, ImportMistakes, ImportOutcome, ImportRecord,
    ImportUsers, Invalid, User, UserId,
};
use crate::grpc::call::CallContext;
use crate::grpc::convert;
use crate::grpc::error::ApiError;
use crate::grpc::violations::Violations;
use crate::proto::identity::v1 as proto;
use crate::proto::identity::v1::{
    ErrorReason, ImportUserResult, ImportUsersRequest, ImportUsersResponse, ImportViolation,
    ImportedUser,
};

/// The most users of a call: what one statement can write.
const MAX_USERS: usize = 1_000;

pub(super) async fn import_users(
    users: &Users,
    context: &CallContext,
    request: ImportUsersRequest,
) -> Result<ImportUsersResponse, ApiError> {
    let mut violations = Violations::default();
    let count = request.users.len();
    if count == 0 {
        violations.add("users", ErrorReason::FieldRequired, "must name a user");
    }
    if count > MAX_USERS {
        let text = "must name at most 1000 users";
        violations.add("users", ErrorReason::ValueOutOfRange, text);
    }
    let record = users.fingerprints.record(
        context,
        "ImportUsers",
        &request.request_id,
        &request,
        &mut violations,
    );
    violations.finish(Some(()))?;

    let looked_at: Vec<Result<User, ImportMistakes>> = request
        .users
        .into_iter()
        .enumerate()
        .map(|(index, user)| {
            let generate = || match &record {
                Some(record) => {
                    let (call, place) = (record.request_id.to_string(), index.to_string());
                    users
                        .derived_ids
                        .user_id(&["ImportUsers", &record.caller, &call, &place])
                }
                None => UserId::generate(context.now),
            };
            import_record(user, context).into_user(&users.required_fields, generate, context.now)
        })
        .collect();
    let valid: Vec<User> = looked_at
        .iter()
        .filter_map(|user| user.as_ref().ok().cloned())
        .collect();
    let import = ImportUsers { users: valid };
    let mut outcomes = users
        .users
        .import(context.command(import, record))
        .await?
        .into_iter();
    let results = looked_at
        .into_iter()
        .map(|user| match user {
            Ok(user) => match outcomes.next() {
                Some(outcome) => Ok(result(user.id, outcome)),
                None => Err(ApiError::internal(&"an import has lost a result")),
            },
            Err(mistakes) => Ok(refused(violations_of(mistakes))),
        })
        .collect::<Result<Vec<ImportUserResult>, ApiError>>()?;
    Ok(ImportUsersResponse { results })
}

fn import_record(user: ImportedUser, context: &CallContext) -> ImportRecord {
    let password = password(&user);
    ImportRecord {
        birth_date: convert::birth_date(user.birth_date.as_ref(), context.now),
        created_at: user
            .create_time
            .as_ref()
            .map(convert::time_from_proto)
            .transpose(),
        password,
        user_id: user.user_id,
        email: user.email,
        email_verified: user.email_verified,
        username: user.username,
        full_name: user.full_name,
        is_active: user.is_active.unwrap_or(true),
        is_blocked: user.is_blocked,
        block_reason: user.block_reason,
    }
}

fn password(user: &ImportedUser) -> Result<Option<ForeignPasswordHash>, Invalid> {
    let keycloak = user.keycloak_password.as_ref();
    let firebase = user.firebase_password.as_ref();
    ForeignPassword {
        text: &user.password_hash,
        keycloak: keycloak.map(|one| (one.secret_data.as_str(), one.credential_data.as_str())),
        firebase: firebase.map(|one| FirebasePassword {
            hash: &one.password_hash,
            salt: &one.salt,
            signer_key: &one.signer_key,
            salt_separator: &one.salt_separator,
            rounds: one.rounds,
            memory_cost: one.memory_cost,
        }),
    }
    .parse()
}

fn result(id: UserId, outcome: ImportOutcome) -> ImportUserResult {
    let taken = |field: &str, reason: ErrorReason, text: &str| {
        refused(vec![ImportViolation {
            field: field.to_owned(),
            reason: reason.into(),
            description: text.to_owned(),
        }])
    };
    let accepted = |said: proto::ImportOutcome| ImportUserResult {
        outcome: said.into(),
        user_id: id.to_string(),
        violations: Vec::new(),
    };
    match outcome {
        ImportOutcome::Created => accepted(proto::ImportOutcome::Created),
        ImportOutcome::Unchanged => accepted(proto::ImportOutcome::Unchanged),
        ImportOutcome::EmailTaken => taken("email", ErrorReason::EmailTaken, "another user has it"),
        ImportOutcome::UsernameTaken => {
            taken("username", ErrorReason::UsernameTaken, "another user has it")
        }
        ImportOutcome::UserIdTaken => taken("user_id", ErrorReason::UserIdTaken, "another user has it"),
    }
}

fn refused(violations: Vec<ImportViolation>) -> ImportUserResult {
    ImportUserResult {
        outcome: proto::ImportOutcome::Refused.into(),
        user_id: String::new(),
        violations,
    }
}

fn violations_of(mistakes: ImportMistakes) -> Vec<ImportViolation> {
    mistakes
        .into_iter()
        .map(|(field, invalid)| ImportViolation {
            field: field.to_owned(),
            reason: ErrorReason::from(invalid.reason).into(),
            description: invalid.description,
        })
        .collect()
}
