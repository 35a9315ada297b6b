//! Creates a user with a password, and signs the user in.

use super::Auth;
use crate::domain::{Email, Identifier, NewUser, Profile, Refusal, UserId, Username};
use crate::grpc::call::CallContext;
use crate::grpc::convert;
use crate::grpc::error::ApiError;
use crate::grpc::violations::{Violations, all};
use crate::proto::identity::v1::{SignUpRequest, SignUpResponse};
use crate::sign_in::{Attempt, SignedIn};

pub(super) async fn sign_up(
    auth: &Auth,
    context: &CallContext,
    request: SignUpRequest,
) -> Result<SignUpResponse, ApiError> {
    if !auth.sign_up {
        return Err(Refusal::SignUpDisabled.into());
    }
    let mut violations = Violations::default();
    let profile = convert::new_profile(
        request.user.as_ref(),
        &auth.required_fields,
        context.now,
        &mut violations,
    );
    let none = Profile::default();
    let new_password = convert::new_password(
        "password",
        &request.password,
        auth.password_policy,
        profile.as_ref().unwrap_or(&none),
        &mut violations,
    );
    let presented_again =
        convert::presented_password("password", &request.password, &mut Violations::default());
    let client = convert::client(request.client.as_ref(), &mut violations);
    let record =
        auth.fingerprints
            .record(context, "SignUp", &request.request_id, &request, &mut violations);
    let (profile, passwords, client) =
        violations.finish(all(profile, new_password.zip(presented_again), client))?;
    let (password, presented) = passwords;
    let identifier =
        identifier_of(&profile).ok_or_else(|| ApiError::internal(&"a new user has no login name"))?;
    let attempt = Attempt {
        password: presented,
        client,
        deadline: context.deadline,
    };

    let is_repeated = match &record {
        Some(record) => auth.request_ids.find(record.clone()).await?.is_some(),
        None => false,
    };
    if is_repeated {
        // A retry does not hash its password again, but it has to be right.
        let signed_in = auth
            .authenticator
            .sign_in_with_password(identifier, attempt)
            .await?;
        return Ok(response(signed_in));
    }
    let password_hash = auth.hasher.hash(password, context.deadline).await?;
    let user = NewUser {
        id: UserId::generate(context.now),
        profile,
        password_hash: Some(password_hash),
        created_at: context.now,
    };
    let signed_up = auth
        .authenticator
        .sign_up(context.command(user, record), identifier, attempt)
        .await?;
    Ok(response(signed_up))
}

/// The name the user would sign in with.
fn identifier_of(profile: &Profile) -> Option<Identifier> {
    let email = profile.email.as_ref().map(Email::as_str);
    let name = email.or(profile.username.as_ref().map(Username::as_str));
    Identifier::parse(name?).ok()
}

fn response(signed_in: SignedIn) -> SignUpResponse {
    SignUpResponse {
        tokens: Some(convert::tokens_to_proto(&signed_in.tokens)),
        user: Some(signed_in.user.into()),
    }
}
