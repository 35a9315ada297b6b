//! Calls that begin, end and show sessions, each in one line.

use identity::proto::identity::v1::{
    BlockUserRequest, ChangePasswordRequest, Client, ConfirmPasswordResetRequest,
    CreatePasswordResetRequest, DeactivateUserRequest, DeleteUserRequest, GetSessionRequest,
    ListSessionsRequest, ListSessionsResponse, ReactivateUserRequest, RefreshTokensRequest,
    RevokeAllSessionsRequest, RevokeSessionRequest, Session, SetPasswordRequest,
    SignInWithPasswordRequest, SignOutRequest, Tokens, UnblockUserRequest,
};
use uuid::Uuid;

use crate::support::{Backend, Clients, Failure, PASSWORD, Test, bearing};

/// A second password that is accepted.
pub const OTHER_PASSWORD: &str = "another battery staples horses";

/// Settings with which a test may sign in as often as it likes at the same time.
pub const PATIENT: [(&str, &str); 3] = [
    ("IDENTITY_LOCKOUT_FAILURES", "1000"),
    ("IDENTITY_LOCKOUT_FREE_FAILURES", "100000"),
    ("IDENTITY_DATABASE_POOL_ACQUIRE_TIMEOUT", "30s"),
];

/// Returns the reason of a failure, and `OK` if there is none.
pub fn reason<T>(outcome: &Result<T, Failure>) -> String {
    outcome.as_ref().map_or_else(Failure::reason, |_| "OK".to_owned())
}

/// Signs in with [`PASSWORD`].
pub async fn signed_in_again(clients: &Clients, email: &str) -> Tokens {
    clients.sign_in(email, PASSWORD).await.expect("the user signs in")
}

/// Signs in to an application.
pub async fn sign_in_to(clients: &Clients, client_id: &str, email: &str) -> Result<Tokens, Failure> {
    let request = SignInWithPasswordRequest {
        identifier: email.to_owned(),
        password: PASSWORD.to_owned(),
        client: Some(application(client_id)),
    };
    let response = clients.auth().sign_in_with_password(request).await?;
    Ok(response.into_inner().tokens.expect("tokens in the response"))
}

/// Exchanges a refresh token as an application.
pub async fn refresh_as(
    clients: &Clients,
    client_id: &str,
    refresh_token: &str,
) -> Result<Tokens, Failure> {
    let request = RefreshTokensRequest {
        refresh_token: refresh_token.to_owned(),
        client: Some(application(client_id)),
    };
    let response = clients.auth().refresh_tokens(request).await?;
    Ok(response.into_inner().tokens.expect("tokens in the response"))
}

fn application(client_id: &str) -> Client {
    Client {
        client_id: client_id.to_owned(),
        ..Client::default()
    }
}

/// Ends the session of a refresh token, or all of its user. Returns how many were live.
pub async fn sign_out(
    clients: &Clients,
    refresh_token: &str,
    all_sessions: bool,
) -> Result<i32, Failure> {
    let request = SignOutRequest {
        refresh_token: refresh_token.to_owned(),
        all_sessions,
    };
    let response = clients.auth().sign_out(request).await?;
    Ok(response.into_inner().ended_sessions)
}

/// Returns a session.
pub async fn session(clients: &Clients, session_id: &str) -> Result<Session, Failure> {
    let request = GetSessionRequest {
        session_id: session_id.to_owned(),
    };
    let response = clients.sessions().get_session(request).await?;
    Ok(response.into_inner().session.expect("a session in the response"))
}

/// Returns a page of sessions.
pub async fn list(
    clients: &Clients,
    request: ListSessionsRequest,
) -> Result<ListSessionsResponse, Failure> {
    Ok(clients.sessions().list_sessions(request).await?.into_inner())
}

/// Returns the ids of every session of a user, in the order of the list.
pub async fn session_ids(clients: &Clients, user_id: &str, include_ended: bool) -> Vec<String> {
    let mut request = ListSessionsRequest {
        user_id: user_id.to_owned(),
        include_ended,
        page_size: 100,
        ..ListSessionsRequest::default()
    };
    let mut ids = Vec::new();
    loop {
        let page = list(clients, request.clone()).await.expect("a page");
        ids.extend(page.sessions.into_iter().map(|session| session.id));
        if page.next_page_token.is_empty() {
            return ids;
        }
        request.page_token = page.next_page_token;
    }
}

/// Ends a session.
pub async fn revoke(clients: &Clients, session_id: &str) -> Result<Session, Failure> {
    let request = RevokeSessionRequest {
        session_id: session_id.to_owned(),
    };
    let response = clients.sessions().revoke_session(request).await?;
    Ok(response.into_inner().session.expect("a session in the response"))
}

/// Ends every session of a user, and returns how many were live.
pub async fn revoke_all(clients: &Clients, user_id: &str) -> Result<i32, Failure> {
    let request = RevokeAllSessionsRequest {
        user_id: user_id.to_owned(),
    };
    let response = clients.sessions().revoke_all_sessions(request).await?;
    Ok(response.into_inner().ended_sessions)
}

/// Keeps a user out.
pub async fn block(clients: &Clients, user_id: &str) -> Result<(), Failure> {
    let request = BlockUserRequest {
        user_id: user_id.to_owned(),
        ..BlockUserRequest::default()
    };
    clients.users().block_user(request).await?;
    Ok(())
}

/// Lets a user in again.
pub async fn unblock(clients: &Clients, user_id: &str) -> Result<(), Failure> {
    let request = UnblockUserRequest {
        user_id: user_id.to_owned(),
        ..UnblockUserRequest::default()
    };
    clients.users().unblock_user(request).await?;
    Ok(())
}

/// Switches a user off.
pub async fn deactivate(clients: &Clients, user_id: &str) -> Result<(), Failure> {
    let request = DeactivateUserRequest {
        user_id: user_id.to_owned(),
        ..DeactivateUserRequest::default()
    };
    clients.users().deactivate_user(request).await?;
    Ok(())
}

/// Switches a user on again.
pub async fn reactivate(clients: &Clients, user_id: &str) -> Result<(), Failure> {
    let request = ReactivateUserRequest {
        user_id: user_id.to_owned(),
        ..ReactivateUserRequest::default()
    };
    clients.users().reactivate_user(request).await?;
    Ok(())
}

/// Deletes a user.
pub async fn delete(clients: &Clients, user_id: &str) -> Result<(), Failure> {
    let request = DeleteUserRequest {
        user_id: user_id.to_owned(),
        ..DeleteUserRequest::default()
    };
    clients.users().delete_user(request).await?;
    Ok(())
}

/// Gives a user a password.
pub async fn set_password(clients: &Clients, user_id: &str, password: &str) -> Result<(), Failure> {
    let request = SetPasswordRequest {
        user_id: user_id.to_owned(),
        password: password.to_owned(),
        ..SetPasswordRequest::default()
    };
    clients.credentials().set_password(request).await?;
    Ok(())
}

/// Changes the password of the user who has an access token.
pub async fn change_password(
    clients: &Clients,
    access_token: &str,
    current_password: &str,
    new_password: &str,
) -> Result<(), Failure> {
    let request = ChangePasswordRequest {
        current_password: current_password.to_owned(),
        new_password: new_password.to_owned(),
        ..ChangePasswordRequest::default()
    };
    let request = bearing(access_token, request);
    clients.credentials().change_password(request).await?;
    Ok(())
}

/// Resets the password of a user with a token made for it.
pub async fn reset_password(clients: &Clients, user_id: &str, password: &str) -> Result<(), Failure> {
    let request = CreatePasswordResetRequest {
        user_id: user_id.to_owned(),
    };
    let response = clients.credentials().create_password_reset(request).await?;
    let confirmation = ConfirmPasswordResetRequest {
        token: response.into_inner().token,
        new_password: password.to_owned(),
        ..ConfirmPasswordResetRequest::default()
    };
    clients.credentials().confirm_password_reset(confirmation).await?;
    Ok(())
}

/// Returns an id as a value in SQL.
pub fn id_in_sql(t: &Test, id: &str) -> String {
    let uuid = Uuid::try_parse(id).expect("a UUID");
    match t.backend {
        Backend::Sqlite => format!("x'{}'", uuid.simple()),
        Backend::Postgres => format!("'{uuid}'"),
    }
}

/// Counts the rows of a table, or of a part of it: `refresh_tokens WHERE used_at IS NULL`.
pub async fn count(t: &Test, rows: &str) -> i64 {
    let count = t
        .sql_value(&format!("SELECT count(*) AS value FROM {rows}"))
        .await;
    count.expect("a count").parse().expect("a number")
}

/// Counts the refresh tokens of a session that can be exchanged.
pub async fn live_tokens(t: &Test, session_id: &str) -> i64 {
    let id = id_in_sql(t, session_id);
    let rows =
        format!("refresh_tokens WHERE session_id = {id} AND used_at IS NULL AND revoked_at IS NULL");
    count(t, &rows).await
}

/// Checks that nothing refers to what is not there, on either database.
pub async fn assert_no_orphans(t: &Test) {
    for orphans in [
        "sessions WHERE user_id NOT IN (SELECT id FROM users)",
        "refresh_tokens WHERE user_id NOT IN (SELECT id FROM users)",
        "refresh_tokens WHERE session_id NOT IN (SELECT id FROM sessions)",
        "one_time_tokens WHERE user_id NOT IN (SELECT id FROM users)",
        "login_attempts WHERE user_id IS NOT NULL AND user_id NOT IN (SELECT id FROM users)",
        // Whoever was deleted has no later event.
        "user_events AS deletion WHERE type = 'user_deleted' AND EXISTS (SELECT 1 FROM user_events AS later
             WHERE later.user_id = deletion.user_id AND later.sequence > deletion.sequence)",
    ] {
        assert_eq!(count(t, orphans).await, 0, "{orphans}");
    }
}
