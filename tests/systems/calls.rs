//! Calls of the user service, less their envelopes.

use identity::proto::identity::v1::lookup_user_request::Identifier;
use identity::proto::identity::v1::{
    BlockUserRequest, DeactivateUserRequest, DeleteUserRequest, ListUsersRequest, ListUsersResponse,
    LookupUserRequest, ReactivateUserRequest, UnblockUserRequest, UpdateUserRequest, User, UserFilter,
};
use prost_types::FieldMask;

use crate::support::{Clients, Failure};

/// Looks a user up by email.
pub async fn look_up(clients: &Clients, email: &str) -> Result<User, Failure> {
    let identifier = Some(Identifier::Email(email.to_owned()));
    let response = clients
        .users()
        .lookup_user(LookupUserRequest { identifier })
        .await?;
    Ok(response.into_inner().user.unwrap())
}

/// Changes the fields of a user that `paths` name to what they are in `user`.
pub async fn update(clients: &Clients, user: User, paths: &[&str]) -> Result<User, Failure> {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    let request = UpdateUserRequest {
        user: Some(user),
        update_mask: Some(FieldMask { paths }),
        ..UpdateUserRequest::default()
    };
    let response = clients.users().update_user(request).await?;
    Ok(response.into_inner().user.unwrap())
}

/// Switches a user off.
pub async fn deactivate(clients: &Clients, user_id: &str) -> User {
    let request = DeactivateUserRequest {
        user_id: user_id.to_owned(),
        ..DeactivateUserRequest::default()
    };
    let response = clients.users().deactivate_user(request).await.unwrap();
    response.into_inner().user.unwrap()
}

/// Switches a user on again.
pub async fn reactivate(clients: &Clients, user_id: &str) -> User {
    let request = ReactivateUserRequest {
        user_id: user_id.to_owned(),
        ..ReactivateUserRequest::default()
    };
    let response = clients.users().reactivate_user(request).await.unwrap();
    response.into_inner().user.unwrap()
}

/// Blocks a user.
pub async fn block(clients: &Clients, user_id: &str, reason: &str) -> User {
    let request = BlockUserRequest {
        user_id: user_id.to_owned(),
        reason: reason.to_owned(),
        ..BlockUserRequest::default()
    };
    let response = clients.users().block_user(request).await.unwrap();
    response.into_inner().user.unwrap()
}

/// Lifts the block of a user.
pub async fn unblock(clients: &Clients, user_id: &str) -> User {
    let request = UnblockUserRequest {
        user_id: user_id.to_owned(),
        ..UnblockUserRequest::default()
    };
    let response = clients.users().unblock_user(request).await.unwrap();
    response.into_inner().user.unwrap()
}

/// Deletes a user for good.
pub async fn delete(clients: &Clients, user_id: &str) {
    let request = DeleteUserRequest {
        user_id: user_id.to_owned(),
        ..DeleteUserRequest::default()
    };
    clients.users().delete_user(request).await.unwrap();
}

/// Returns a page of users.
pub async fn list(clients: &Clients, request: ListUsersRequest) -> ListUsersResponse {
    clients.users().list_users(request).await.unwrap().into_inner()
}

/// Returns the first users that match a filter, up to 100.
pub async fn list_filtered(clients: &Clients, filter: UserFilter) -> Vec<User> {
    let request = ListUsersRequest {
        page_size: 100,
        filter: Some(filter),
        ..ListUsersRequest::default()
    };
    list(clients, request).await.users
}
