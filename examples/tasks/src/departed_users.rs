//! Deletes the tasks of users who are deleted, where the tasks are not in the database of identity and no foreign key does
//! it: follows `UserService.WatchUsers` from a token that is stored with what was done, in one transaction.
//!
//! - Nothing is missed: after a crash, a lost connection or a week of being switched off, the stream goes on where the
//!   stored token says. An event that is told twice deletes nothing the second time.
//! - The first time, and when the token is too old to be resumed from, each owner of tasks is looked up instead, after a
//!   place to go on from has been noted, so that nobody who is deleted meanwhile is missed.
//! - An access token outlives its user by some minutes, and can be verified without asking anybody. What is created with
//!   one goes with a later event or checkpoint, as long as the user is remembered to be gone.

use std::time::Duration;

use chrono::TimeDelta;
use tokio::time::sleep;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::Clock;
use crate::database::{Database, DatabaseError, Departures};
use crate::proto::identity::v1::user_service_client::UserServiceClient;
use crate::proto::identity::v1::watch_users_request::Start;
use crate::proto::identity::v1::watch_users_response::Content;
use crate::proto::identity::v1::{
    GetUserRequest, UserEventType, WatchStart, WatchUsersRequest, WatchUsersResponse,
};

/// How long to wait before trying again: short beside the minutes for which tokens of a deleted user are good.
const PAUSE: Duration = Duration::from_secs(1);

/// How long a user is remembered to be gone: far longer than any access token lives.
const MEMORY: TimeDelta = TimeDelta::hours(24);

/// How long one lookup may take.
const LOOKUP_LIMIT: Duration = Duration::from_secs(10);

/// Follows the deletions of users.
pub(crate) struct DepartedUsers {
    pub(crate) database: Database,
    pub(crate) users: UserServiceClient<Channel>,
    pub(crate) authorization: Option<AsciiMetadataValue>,
    pub(crate) clock: Clock,
}

/// Why following stopped.
#[derive(Debug, thiserror::Error)]
enum Interruption {
    #[error("{:?}: {}", .0.code(), .0.message())]
    Call(#[from] Status),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error("the stream has ended")]
    Ended,
    #[error("an id that is no UUID")]
    Id(#[from] uuid::Error),
}

impl DepartedUsers {
    /// Follows, again and again, until the task is aborted.
    pub(crate) async fn follow_forever(self) {
        loop {
            let interruption = match self.follow().await {
                Err(interruption) => interruption,
                Ok(never) => match never {},
            };
            tracing::warn!(error = %interruption, "deletions of users are not followed; trying again");
            sleep(PAUSE).await;
        }
    }

    async fn follow(&self) -> Result<std::convert::Infallible, Interruption> {
        let stored = self.database.resume_token().await?;
        let mut stream = match stored {
            Some(token) => match self.watch(Start::ResumeToken(token)).await {
                // Too old, or of a state that identity has lost. A refusal may come before the stream or in it.
                Err(status) if is_of_token(&status) => self.begin().await?,
                stream => stream?,
            },
            None => self.begin().await?,
        };
        loop {
            match stream.message().await {
                Ok(Some(message)) => self.apply(message).await?,
                Ok(None) => return Err(Interruption::Ended),
                Err(status) if is_of_token(&status) => stream = self.begin().await?,
                Err(status) => return Err(status.into()),
            }
        }
    }

    /// Begins anew: notes a place to go on from, deletes the tasks of owners who are not there, and goes on from it.
    async fn begin(&self) -> Result<Streaming<WatchUsersResponse>, Interruption> {
        let mut stream = self.watch(Start::StartAt(WatchStart::Now.into())).await?;
        let first = stream.message().await?.ok_or(Interruption::Ended)?;
        /// Owners that are read at a time.
        const OWNERS: i64 = 100;
        let mut last = None;
        loop {
            let owners = self.database.owners(last, OWNERS).await?;
            let Some(newest) = owners.last() else {
                break;
            };
            last = Some(*newest);
            let mut departed = Vec::new();
            for owner in owners {
                if self.is_gone(owner).await? {
                    departed.push(owner);
                }
            }
            if !departed.is_empty() {
                self.note(Departures::of(departed), None).await?;
            }
        }
        // The first message may tell of a deletion already.
        self.apply(first).await?;
        Ok(stream)
    }

    /// Asks whether a user is not there any more.
    async fn is_gone(&self, user_id: Uuid) -> Result<bool, Status> {
        loop {
            let mut request = self.request(GetUserRequest {
                user_id: user_id.to_string(),
            });
            request.set_timeout(LOOKUP_LIMIT);
            match self.users.clone().get_user(request).await {
                Ok(_) => return Ok(false),
                Err(status) if is_user_not_found(&status) => return Ok(true),
                // Too many calls: what has been found out so far is not lost by waiting.
                Err(status) if status.code() == Code::ResourceExhausted => sleep(PAUSE).await,
                Err(status) => return Err(status),
            }
        }
    }

    async fn watch(&self, start: Start) -> Result<Streaming<WatchUsersResponse>, Status> {
        let request = WatchUsersRequest {
            start: Some(start),
            types: vec![
                UserEventType::UserDeleted.into(),
                // An id can be given again, and is nobody's who is gone then.
                UserEventType::UserCreated.into(),
            ],
            user_ids: Vec::new(),
        };
        let response = self.users.clone().watch_users(self.request(request)).await?;
        Ok(response.into_inner())
    }

    /// Does what a message tells, and notes that it was done.
    async fn apply(&self, message: WatchUsersResponse) -> Result<(), Interruption> {
        let departures = match message.content {
            Some(Content::Change(change)) => {
                let user_id = Uuid::try_parse(&change.user_id)?;
                if change.r#type() == UserEventType::UserDeleted {
                    Departures::of(vec![user_id])
                } else {
                    Departures::returned(user_id)
                }
            }
            Some(Content::User(_) | Content::Checkpoint(_)) | None => Departures::default(),
        };
        self.note(departures, Some(message.resume_token)).await
    }

    async fn note(&self, departures: Departures, token: Option<String>) -> Result<(), Interruption> {
        let now = (self.clock)();
        let deleted = self.database.follow(departures, token, now, now - MEMORY).await?;
        if deleted > 0 {
            tracing::info!(tasks = deleted, "deleted the tasks of users who are gone");
        }
        Ok(())
    }

    fn request<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        if let Some(value) = &self.authorization {
            request.metadata_mut().insert("authorization", value.clone());
        }
        request
    }
}

/// Tells whether identity says that there is no such user. A proxy between here and there can say NOT_FOUND, too.
fn is_user_not_found(status: &Status) -> bool {
    let info = status.get_details_error_info();
    status.code() == Code::NotFound
        && info.is_some_and(|info| {
            (info.domain.as_str(), info.reason.as_str()) == ("identity", "USER_NOT_FOUND")
        })
}

/// Tells whether it was the resume token that was refused: RESUME_TOKEN_EXPIRED or INVALID_RESUME_TOKEN, the one field
/// of the request that can be wrong.
fn is_of_token(status: &Status) -> bool {
    matches!(status.code(), Code::OutOfRange | Code::InvalidArgument)
}
