//! A failed call, with the details that programs rely on.

use std::fmt;
use std::time::Duration;

use prost::Message;
use tonic::{Code, Status};
use tonic_types::pb::{self, BadRequest, ErrorInfo, RequestInfo, ResourceInfo, RetryInfo};

/// A failed call.
pub struct Failure {
    status: Status,
    details: pb::Status,
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let details = pb::Status::decode(status.details()).expect("a google.rpc.Status");
        Self { status, details }
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failure")
            .field("code", &self.code())
            .field("message", &self.message())
            .field("info", &self.detail::<ErrorInfo>("ErrorInfo"))
            .field("bad_request", &self.detail::<BadRequest>("BadRequest"))
            .finish()
    }
}

impl Failure {
    /// Returns the gRPC code.
    pub fn code(&self) -> Code {
        self.status.code()
    }

    /// Returns the text for developers.
    pub fn message(&self) -> &str {
        self.status.message()
    }

    /// Returns the status as it came.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// Returns the reason: the name of an `ErrorReason`. Every failure has one.
    pub fn reason(&self) -> String {
        self.info().reason
    }

    /// Returns a value that belongs to the reason, such as `limit`.
    pub fn metadata(&self, key: &str) -> Option<String> {
        self.info().metadata.get(key).cloned()
    }

    /// Returns the fields that are wrong, each with its reason, in the order of the violations.
    pub fn fields(&self) -> Vec<(String, String)> {
        let bad_request: BadRequest = self.detail("BadRequest").unwrap_or_default();
        bad_request
            .field_violations
            .into_iter()
            .map(|violation| (violation.field, violation.reason))
            .collect()
    }

    /// Returns the resource that the failure is about.
    pub fn resource(&self) -> Option<ResourceInfo> {
        self.detail("ResourceInfo")
    }

    /// Returns how long to wait before calling again.
    pub fn retry_delay(&self) -> Option<Duration> {
        let retry: RetryInfo = self.detail("RetryInfo")?;
        retry
            .retry_delay
            .map(|delay| delay.try_into().expect("a delay that is not negative"))
    }

    /// Returns the id that the log has, too.
    pub fn error_id(&self) -> Option<String> {
        let request: RequestInfo = self.detail("RequestInfo")?;
        Some(request.request_id)
    }

    fn info(&self) -> ErrorInfo {
        let info: ErrorInfo = self
            .detail("ErrorInfo")
            .unwrap_or_else(|| panic!("a failure without ErrorInfo: {:?}", self.status));
        assert_eq!(info.domain, "identity", "the domain of {:?}", self.status);
        info
    }

    fn detail<T: Message + Default>(&self, name: &str) -> Option<T> {
        let type_url = format!("type.googleapis.com/google.rpc.{name}");
        let mut found = self
            .details
            .details
            .iter()
            .filter(|detail| detail.type_url == type_url);
        let detail = found.next()?;
        assert!(found.next().is_none(), "{name} is there twice: {:?}", self.status);
        Some(T::decode(detail.value.as_slice()).expect(name))
    }
}
