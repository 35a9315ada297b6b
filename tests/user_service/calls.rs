//! Calls of the user service, each in one line.

use identity::proto::identity::v1::lookup_user_request::Identifier;
use identity::proto::identity::v1::{
    BatchGetUsersRequest, BlockUserRequest, DeactivateUserRequest, DeleteUserRequest, ListUsersRequest,
    ListUsersResponse, LookupUserRequest, ReactivateUserRequest, UnblockUserRequest, UpdateUserRequest,
    User, UserFilter,
};
use prost_types::FieldMask;
use tonic::Code;

use crate::support::{Clients, Failure, Test};

/// An id that no user has.
pub const NOBODY: &str = "0190a6e1-7d5c-7abc-8def-0123456789ab";

/// A password that the default policy accepts.
pub const PASSWORD: &str = "correct horse battery staple";

/// Returns the code and the reason of a failure.
pub fn kind(failure: &Failure) -> (Code, String) {
    (failure.code(), failure.reason())
}

/// Asserts that a call was refused because of one field.
#[track_caller]
pub fn assert_refused<T: std::fmt::Debug>(result: Result<T, Failure>, field: &str, reason: &str) {
    let failure = result.expect_err(field);
    assert_eq!(
        (failure.code(), failure.fields()),
        (Code::InvalidArgument, vec![(field.to_owned(), reason.to_owned())]),
        "{failure:?}"
    );
}

/// Asserts with which code and reason a call failed.
#[track_caller]
pub fn assert_failed<T: std::fmt::Debug>(result: Result<T, Failure>, code: Code, reason: &str) {
    let failure = result.expect_err(reason);
    assert_eq!(kind(&failure), (code, reason.to_owned()), "{failure:?}");
}

/// Looks a user up by its email.
pub async fn lookup_email(clients: &Clients, email: &str) -> Result<User, Failure> {
    lookup(clients, Identifier::Email(email.to_owned())).await
}

/// Looks a user up by its username.
pub async fn lookup_username(clients: &Clients, username: &str) -> Result<User, Failure> {
    lookup(clients, Identifier::Username(username.to_owned())).await
}

async fn lookup(clients: &Clients, identifier: Identifier) -> Result<User, Failure> {
    let request = LookupUserRequest {
        identifier: Some(identifier),
    };
    let response = clients.users().lookup_user(request).await?;
    Ok(response.into_inner().user.expect("a user in the response"))
}

/// Updates the fields of `user` that `paths` name.
pub async fn update(clients: &Clients, user: User, paths: &[&str]) -> Result<User, Failure> {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    let request = UpdateUserRequest {
        user: Some(user),
        update_mask: Some(FieldMask { paths }),
        request_id: String::new(),
    };
    let response = clients.users().update_user(request).await?;
    Ok(response.into_inner().user.expect("a user in the response"))
}

/// Returns the users with these ids.
pub async fn batch_get(clients: &Clients, ids: &[&str]) -> Result<Vec<User>, Failure> {
    let user_ids = ids.iter().map(|id| (*id).to_owned()).collect();
    let request = BatchGetUsersRequest { user_ids };
    Ok(clients.users().batch_get_users(request).await?.into_inner().users)
}

/// Returns a page of users.
pub async fn list(clients: &Clients, request: ListUsersRequest) -> Result<ListUsersResponse, Failure> {
    Ok(clients.users().list_users(request).await?.into_inner())
}

/// Returns the emails of the users that match a filter, in the order of the list.
pub async fn emails_of(clients: &Clients, filter: UserFilter) -> Result<Vec<String>, Failure> {
    let request = ListUsersRequest {
        filter: Some(filter),
        ..ListUsersRequest::default()
    };
    let page = list(clients, request).await?;
    Ok(page.users.into_iter().map(|user| user.email).collect())
}

/// Counts the rows of a table.
pub async fn count(t: &Test, table: &str) -> String {
    let query = format!("SELECT count(*) AS value FROM {table}");
    t.sql_value(&query).await.expect("a count")
}

/// A method that changes a user who exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Update,
    Deactivate,
    Reactivate,
    Block,
    Unblock,
    Delete,
}

/// A call of such a method. Called on a user from [`Method::prepare`], it changes something.
#[derive(Debug, Clone, Default)]
pub struct Change {
    pub user_id: String,
    pub etag: String,
    pub request_id: String,
}

impl Change {
    pub fn of(user_id: &str) -> Self {
        Self {
            user_id: user_id.to_owned(),
            ..Self::default()
        }
    }

    pub fn etag(mut self, etag: &str) -> Self {
        etag.clone_into(&mut self.etag);
        self
    }

    pub fn request_id(mut self, request_id: &str) -> Self {
        request_id.clone_into(&mut self.request_id);
        self
    }
}

impl Method {
    pub const ALL: [Self; 6] = [
        Self::Update,
        Self::Deactivate,
        Self::Reactivate,
        Self::Block,
        Self::Unblock,
        Self::Delete,
    ];

    /// Creates a user that the method changes.
    pub async fn prepare(self, clients: &Clients, email: &str) -> User {
        let user = clients.create_user(email).await;
        let opposite = match self {
            Self::Reactivate => Self::Deactivate,
            Self::Unblock => Self::Block,
            Self::Update | Self::Deactivate | Self::Block | Self::Delete => return user,
        };
        let changed = opposite.call(clients, Change::of(&user.id)).await;
        changed.expect("the user is prepared").expect("a user")
    }

    /// The field of the request that has the id of the user.
    pub const fn id_field(self) -> &'static str {
        if matches!(self, Self::Update) {
            "user.id"
        } else {
            "user_id"
        }
    }

    /// The field of the request that has the etag.
    pub const fn etag_field(self) -> &'static str {
        if matches!(self, Self::Update) {
            "user.etag"
        } else {
            "etag"
        }
    }

    /// Calls the method. A deleted user is not returned.
    pub async fn call(self, clients: &Clients, change: Change) -> Result<Option<User>, Failure> {
        let Change {
            user_id,
            etag,
            request_id,
        } = change;
        let mut users = clients.users();
        Ok(match self {
            Self::Update => {
                let user = User {
                    id: user_id,
                    etag,
                    full_name: "Changed".to_owned(),
                    ..User::default()
                };
                let request = UpdateUserRequest {
                    user: Some(user),
                    update_mask: None,
                    request_id,
                };
                users.update_user(request).await?.into_inner().user
            }
            Self::Deactivate => {
                let request = DeactivateUserRequest {
                    user_id,
                    etag,
                    request_id,
                };
                users.deactivate_user(request).await?.into_inner().user
            }
            Self::Reactivate => {
                let request = ReactivateUserRequest {
                    user_id,
                    etag,
                    request_id,
                };
                users.reactivate_user(request).await?.into_inner().user
            }
            Self::Block => {
                let reason = "Abuse".to_owned();
                let request = BlockUserRequest {
                    user_id,
                    reason,
                    etag,
                    request_id,
                };
                users.block_user(request).await?.into_inner().user
            }
            Self::Unblock => {
                let request = UnblockUserRequest {
                    user_id,
                    etag,
                    request_id,
                };
                users.unblock_user(request).await?.into_inner().user
            }
            Self::Delete => {
                users
                    .delete_user(DeleteUserRequest {
                        user_id,
                        etag,
                        request_id,
                    })
                    .await?;
                None
            }
        })
    }
}
