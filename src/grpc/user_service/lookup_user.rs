//! Returns the user with an email, a username, or an account at a provider.

use super::Users;
use crate::domain::{Email, Username};
use crate::grpc::call::CallContext;
use crate::grpc::convert;
use crate::grpc::error::ApiError;
use crate::grpc::violations::Violations;
use crate::proto::identity::v1::lookup_user_request::Identifier;
use crate::proto::identity::v1::{ErrorReason, LookupUserRequest, LookupUserResponse};

pub(super) async fn lookup_user(
    users: &Users,
    _context: &CallContext,
    request: LookupUserRequest,
) -> Result<LookupUserResponse, ApiError> {
    let mut violations = Violations::default();
    let found = match request.identifier {
        Some(Identifier::Email(text)) => {
            let email = violations.take("email", Email::parse(&text));
            users.users.get_by_email(&violations.finish(email)?).await?
        }
        Some(Identifier::Username(text)) => {
            let username = violations.take("username", Username::parse(&text));
            users.users.get_by_username(&violations.finish(username)?).await?
        }
        Some(Identifier::OauthAccount(account)) => {
            let provider =
                convert::provider_name("oauth_account.provider", &account.provider, &mut violations);
            let subject = convert::subject("oauth_account.subject", &account.subject, &mut violations);
            let (provider, subject) = violations.finish(provider.zip(subject))?;
            match users.id_tokens.account_key(&provider, subject) {
                Some(key) => users.users.get_by_oauth_account(key).await?,
                None => return Err(convert::unknown_provider("oauth_account.provider").into()),
            }
        }
        None => {
            let reason = ErrorReason::FieldRequired;
            let text = "must be an email, a username, or an account at a provider";
            return Err(ApiError::from(Violations::one("identifier", reason, text)));
        }
    };
    // What was asked for is not repeated: it may be somebody's address.
    let user = found.ok_or_else(|| ApiError::user_not_found(String::new()))?;
    Ok(LookupUserResponse {
        user: Some(user.into()),
    })
}
