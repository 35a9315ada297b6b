//! A consumer: a stream, and the copy of the users that it is made into.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use identity::proto::identity::v1::watch_users_request::Start;
use identity::proto::identity::v1::watch_users_response::Content;
use identity::proto::identity::v1::{
    ListUsersRequest, User, UserChange, UserEventType, WatchStart, WatchUsersRequest, WatchUsersResponse,
};
use prost_types::Timestamp;
use tokio::time::timeout;
use tonic::Streaming;

use crate::support::{Clients, Failure};
use crate::user_service::calls::list;

/// How long a message may take: far longer than it should on a busy machine.
const LIMIT: Duration = Duration::from_secs(90);

/// Asks for everything from the beginning.
pub fn from_beginning() -> WatchUsersRequest {
    starting(Start::StartAt(WatchStart::Beginning.into()))
}

/// Asks for what comes.
pub fn from_now() -> WatchUsersRequest {
    starting(Start::StartAt(WatchStart::Now.into()))
}

/// Asks for what comes after a token.
pub fn after(resume_token: &str) -> WatchUsersRequest {
    starting(Start::ResumeToken(resume_token.to_owned()))
}

fn starting(start: Start) -> WatchUsersRequest {
    WatchUsersRequest {
        start: Some(start),
        ..WatchUsersRequest::default()
    }
}

/// A stream.
pub struct Watch {
    stream: Streaming<WatchUsersResponse>,
    /// The token of the last message.
    pub token: String,
}

impl Watch {
    /// Begins to watch.
    pub async fn begin(clients: &Clients, request: WatchUsersRequest) -> Result<Self, Failure> {
        let response = clients.users().watch_users(request).await?;
        Ok(Self {
            stream: response.into_inner(),
            token: String::new(),
        })
    }

    /// Begins to watch what comes, and waits until it is told that it does.
    pub async fn now(clients: &Clients) -> Self {
        let mut watch = Self::begin(clients, from_now()).await.expect("a stream");
        watch.catch_up().await;
        watch
    }

    /// Waits for the next message, or the end.
    pub async fn message(&mut self) -> Result<WatchUsersResponse, Failure> {
        let outcome = timeout(LIMIT, self.stream.message())
            .await
            .expect("a message in time")?;
        let message = outcome.expect("a message or an error");
        assert!(!message.resume_token.is_empty());
        self.token.clone_from(&message.resume_token);
        Ok(message)
    }

    /// Waits for the next message.
    pub async fn next(&mut self) -> Content {
        let message = self.message().await.expect("a message");
        message.content.expect("something in the message")
    }

    /// Waits for a checkpoint, which comes next.
    pub async fn checkpoint(&mut self) {
        let next = self.next().await;
        assert!(matches!(next, Content::Checkpoint(_)), "{next:?}");
    }

    /// Waits for the first checkpoint. On PostgreSQL, what happened before the call may come before it, where a
    /// transaction, be it of another test, holds it back.
    pub async fn catch_up(&mut self) {
        while matches!(self.next().await, Content::Change(_)) {}
    }

    /// Waits for the next user of the snapshot.
    pub async fn user(&mut self) -> User {
        let content = self.next().await;
        let Content::User(user) = content else {
            panic!("{content:?}");
        };
        user
    }

    /// Waits for the next change, past checkpoints.
    pub async fn change(&mut self) -> UserChange {
        loop {
            match self.next().await {
                Content::Change(change) => return change,
                Content::Checkpoint(_) => {}
                Content::User(user) => panic!("{user:?}"),
            }
        }
    }

    /// Waits for the end.
    pub async fn end(&mut self) -> Failure {
        let ending = async {
            loop {
                if let Err(failure) = self.message().await {
                    return failure;
                }
            }
        };
        timeout(LIMIT, ending).await.expect("the end in time")
    }
}

/// A copy of the users, and what its consumer can tell is wrong with the messages.
#[derive(Debug, Default)]
pub struct Copy {
    /// The users by their ids.
    pub users: BTreeMap<String, User>,
    /// The events there were.
    pub event_ids: BTreeSet<String>,
    newest: BTreeMap<String, (i64, i32)>,
    deleted: BTreeSet<String>,
}

fn key(time: Option<Timestamp>) -> (i64, i32) {
    time.map(|time| (time.seconds, time.nanos)).expect("a time")
}

impl Copy {
    /// Applies a message. Fails if it breaks what the contract says about order.
    pub fn apply(&mut self, content: Content) {
        match content {
            Content::Checkpoint(_) => {}
            Content::User(user) => self.put(user),
            Content::Change(change) => {
                let is_new = self.event_ids.insert(change.event_id.clone());
                assert!(is_new, "told twice: {change:?}");
                let is_last = change.r#type() == UserEventType::UserDeleted;
                assert!(!self.deleted.contains(&change.user_id), "deleted: {change:?}");
                if is_last {
                    assert_eq!(change.user, None);
                    self.deleted.insert(change.user_id.clone());
                }
                match change.user {
                    Some(user) => {
                        assert_eq!(user.id, change.user_id);
                        assert!(
                            key(user.update_time) >= key(change.occur_time)
                                || !changes_user(change.r#type)
                        );
                        self.put(user);
                    }
                    None => drop(self.users.remove(&change.user_id)),
                }
            }
        }
    }

    fn put(&mut self, user: User) {
        let version = key(user.update_time);
        let newest = self.newest.entry(user.id.clone()).or_insert(version);
        assert!(version >= *newest, "an older version: {user:?}");
        *newest = version;
        self.users.insert(user.id.clone(), user);
    }
}

/// Sessions and lockouts are not part of the user.
fn changes_user(number: i32) -> bool {
    !matches!(
        UserEventType::try_from(number),
        Ok(UserEventType::SessionsRevoked
            | UserEventType::RefreshTokenReused
            | UserEventType::LockoutCleared)
    )
}

/// Returns all users by their ids.
pub async fn table(clients: &Clients) -> Result<BTreeMap<String, User>, Failure> {
    let mut users = BTreeMap::new();
    let mut page_token = String::new();
    loop {
        let request = ListUsersRequest {
            page_size: 100,
            page_token,
            ..ListUsersRequest::default()
        };
        let page = list(clients, request).await?;
        users.extend(page.users.into_iter().map(|user| (user.id.clone(), user)));
        if page.next_page_token.is_empty() {
            return Ok(users);
        }
        page_token = page.next_page_token;
    }
}
