//! Calls of the credential service, each in one line.

use identity::proto::identity::v1::{
    ChangePasswordRequest, ConfirmEmailVerificationRequest, ConfirmPasswordResetRequest,
    CreateEmailVerificationRequest, CreateEmailVerificationResponse, CreatePasswordResetRequest,
    RemovePasswordRequest, SetPasswordRequest, User, VerifyPasswordRequest,
};

use crate::support::{Clients, Failure, Test, bearing};

/// Another password that is accepted.
pub const OTHER_PASSWORD: &str = "wrong donkey charger";

/// Many calls may wait for one row as long as it takes.
pub const PATIENT: [(&str, &str); 4] = [
    ("IDENTITY_DATABASE_POOL_ACQUIRE_TIMEOUT", "60s"),
    ("IDENTITY_DATABASE_LOCK_TIMEOUT", "60s"),
    ("IDENTITY_DATABASE_STATEMENT_TIMEOUT", "60s"),
    ("IDENTITY_MAX_DEADLINE", "60s"),
];

/// Gives a user a password.
pub async fn set_password(clients: &Clients, user_id: &str, password: &str) -> Result<User, Failure> {
    set_password_with(
        clients,
        SetPasswordRequest {
            user_id: user_id.to_owned(),
            password: password.to_owned(),
            ..SetPasswordRequest::default()
        },
    )
    .await
}

/// Gives a user a password, with all that the request can say.
pub async fn set_password_with(clients: &Clients, request: SetPasswordRequest) -> Result<User, Failure> {
    let response = clients.credentials().set_password(request).await?;
    Ok(response.into_inner().user.expect("a user in the response"))
}

/// Changes the password of whoever has the access token.
pub async fn change_password(
    clients: &Clients,
    access_token: &str,
    current_password: &str,
    new_password: &str,
) -> Result<User, Failure> {
    change_password_with(
        clients,
        access_token,
        ChangePasswordRequest {
            current_password: current_password.to_owned(),
            new_password: new_password.to_owned(),
            ..ChangePasswordRequest::default()
        },
    )
    .await
}

/// Changes a password, with all that the request can say.
pub async fn change_password_with(
    clients: &Clients,
    access_token: &str,
    request: ChangePasswordRequest,
) -> Result<User, Failure> {
    let request = bearing(access_token, request);
    let response = clients.credentials().change_password(request).await?;
    Ok(response.into_inner().user.expect("a user in the response"))
}

/// Asks whether a password is a user's.
pub async fn verify_password(clients: &Clients, user_id: &str, password: &str) -> Result<bool, Failure> {
    let request = VerifyPasswordRequest {
        user_id: user_id.to_owned(),
        password: password.to_owned(),
        client: None,
    };
    let response = clients.credentials().verify_password(request).await?;
    Ok(response.into_inner().matches)
}

/// Takes the password of a user away.
pub async fn remove_password(
    clients: &Clients,
    request: RemovePasswordRequest,
) -> Result<User, Failure> {
    let response = clients.credentials().remove_password(request).await?;
    Ok(response.into_inner().user.expect("a user in the response"))
}

/// Makes a token that resets the password of a user.
pub async fn create_reset(clients: &Clients, user_id: &str) -> Result<String, Failure> {
    let request = CreatePasswordResetRequest {
        user_id: user_id.to_owned(),
    };
    let response = clients.credentials().create_password_reset(request).await?;
    Ok(response.into_inner().token)
}

/// Sets a password with a token.
pub async fn confirm_reset(clients: &Clients, token: &str, new_password: &str) -> Result<User, Failure> {
    confirm_reset_with(
        clients,
        ConfirmPasswordResetRequest {
            token: token.to_owned(),
            new_password: new_password.to_owned(),
            ..ConfirmPasswordResetRequest::default()
        },
    )
    .await
}

/// Sets a password with a token, with all that the request can say.
pub async fn confirm_reset_with(
    clients: &Clients,
    request: ConfirmPasswordResetRequest,
) -> Result<User, Failure> {
    let response = clients.credentials().confirm_password_reset(request).await?;
    Ok(response.into_inner().user.expect("a user in the response"))
}

/// Makes a token that verifies the email of a user.
pub async fn create_verification(
    clients: &Clients,
    user_id: &str,
) -> Result<CreateEmailVerificationResponse, Failure> {
    let request = CreateEmailVerificationRequest {
        user_id: user_id.to_owned(),
    };
    let response = clients.credentials().create_email_verification(request).await?;
    Ok(response.into_inner())
}

/// Verifies an email with a token.
pub async fn confirm_verification(
    clients: &Clients,
    token: &str,
    request_id: &str,
) -> Result<User, Failure> {
    let request = ConfirmEmailVerificationRequest {
        token: token.to_owned(),
        request_id: request_id.to_owned(),
    };
    let response = clients.credentials().confirm_email_verification(request).await?;
    Ok(response.into_inner().user.expect("a user in the response"))
}

/// Returns the hash of a user's password as it is stored.
pub async fn stored_hash(t: &Test, email: &str) -> Option<String> {
    t.sql_value(&format!(
        "SELECT password_hash AS value FROM users WHERE email = '{email}'"
    ))
    .await
}
