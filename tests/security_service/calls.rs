//! Calls of the security service, each in one line.

use identity::proto::identity::v1::{
    ClearLockoutRequest, GetLockoutRequest, ListLoginAttemptsRequest, ListLoginAttemptsResponse,
    ListUserEventsRequest, ListUserEventsResponse, Lockout, LoginAttempt, LoginAttemptFilter, UserEvent,
    UserEventFilter, UserEventType, clear_lockout_request, get_lockout_request,
};

use crate::support::{Clients, Failure};

/// Returns the lockout of a user.
pub async fn lockout_of_user(clients: &Clients, user_id: &str) -> Result<Lockout, Failure> {
    lockout(clients, get_lockout_request::Subject::UserId(user_id.to_owned())).await
}

/// Returns the lockout of a login name.
pub async fn lockout_of_name(clients: &Clients, name: &str) -> Result<Lockout, Failure> {
    lockout(clients, get_lockout_request::Subject::Identifier(name.to_owned())).await
}

async fn lockout(clients: &Clients, subject: get_lockout_request::Subject) -> Result<Lockout, Failure> {
    let request = GetLockoutRequest {
        subject: Some(subject),
    };
    let response = clients.security().get_lockout(request).await?;
    Ok(response.into_inner().lockout.expect("a lockout in the response"))
}

/// Forgets the failures of a user.
pub async fn clear_user(clients: &Clients, user_id: &str) -> Result<(), Failure> {
    clear(
        clients,
        clear_lockout_request::Subject::UserId(user_id.to_owned()),
    )
    .await
}

/// Forgets the failures of a login name.
pub async fn clear_name(clients: &Clients, name: &str) -> Result<(), Failure> {
    clear(
        clients,
        clear_lockout_request::Subject::Identifier(name.to_owned()),
    )
    .await
}

async fn clear(clients: &Clients, subject: clear_lockout_request::Subject) -> Result<(), Failure> {
    let request = ClearLockoutRequest {
        subject: Some(subject),
    };
    clients.security().clear_lockout(request).await?;
    Ok(())
}

/// Returns a page of attempts.
pub async fn page(
    clients: &Clients,
    request: ListLoginAttemptsRequest,
) -> Result<ListLoginAttemptsResponse, Failure> {
    let response = clients.security().list_login_attempts(request).await?;
    Ok(response.into_inner())
}

/// Returns the newest attempts that match a filter.
pub async fn attempts(
    clients: &Clients,
    filter: LoginAttemptFilter,
) -> Result<Vec<LoginAttempt>, Failure> {
    let request = ListLoginAttemptsRequest {
        filter: Some(filter),
        ..ListLoginAttemptsRequest::default()
    };
    Ok(page(clients, request).await?.login_attempts)
}

/// Returns a page of events.
pub async fn event_page(
    clients: &Clients,
    request: ListUserEventsRequest,
) -> Result<ListUserEventsResponse, Failure> {
    Ok(clients.security().list_user_events(request).await?.into_inner())
}

/// Returns the newest 100 events that match a filter.
pub async fn events(clients: &Clients, filter: UserEventFilter) -> Result<Vec<UserEvent>, Failure> {
    let request = ListUserEventsRequest {
        filter: Some(filter),
        page_size: 100,
        ..ListUserEventsRequest::default()
    };
    Ok(event_page(clients, request).await?.user_events)
}

/// Returns what happened to a user, in the order in which it happened.
pub async fn history(clients: &Clients, user_id: &str) -> Vec<UserEvent> {
    let filter = UserEventFilter {
        user_id: user_id.to_owned(),
        ..UserEventFilter::default()
    };
    let mut found = events(clients, filter).await.expect("events");
    found.reverse();
    found
}

/// Returns the types of what happened to a user, in the order in which it happened.
pub async fn history_types(clients: &Clients, user_id: &str) -> Vec<UserEventType> {
    let found = history(clients, user_id).await;
    found.iter().map(UserEvent::r#type).collect()
}
