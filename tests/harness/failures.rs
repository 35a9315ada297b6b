//! Failed calls.

use std::time::Duration;

use prost::Message;
use prost_types::Any;
use tonic::{Code, Status};
use tonic_types::pb::bad_request::FieldViolation;
use tonic_types::pb::{self, BadRequest, ErrorInfo, RequestInfo, ResourceInfo, RetryInfo};

use crate::support::{Behaviour, Failure, plain};

pub fn tests() -> Vec<Behaviour> {
    plain![every_detail_can_be_read]
}

fn every_detail_can_be_read() {
    let violation = FieldViolation {
        field: "user.email".to_owned(),
        reason: "INVALID_FORMAT".to_owned(),
        ..FieldViolation::default()
    };
    let details = [
        any(
            "ErrorInfo",
            &ErrorInfo {
                reason: "EMAIL_TAKEN".to_owned(),
                domain: "identity".to_owned(),
                metadata: [("limit".to_owned(), "72".to_owned())].into(),
            },
        ),
        any(
            "BadRequest",
            &BadRequest {
                field_violations: vec![violation],
            },
        ),
        any(
            "ResourceInfo",
            &ResourceInfo {
                resource_name: "users/1".to_owned(),
                ..ResourceInfo::default()
            },
        ),
        any(
            "RetryInfo",
            &RetryInfo {
                retry_delay: Some(prost_types::Duration {
                    seconds: 1,
                    nanos: 500_000_000,
                }),
            },
        ),
        any(
            "RequestInfo",
            &RequestInfo {
                request_id: "7".to_owned(),
                ..RequestInfo::default()
            },
        ),
    ];
    let status = pb::Status {
        details: details.to_vec(),
        ..pb::Status::default()
    };

    let failure = Failure::from(Status::with_details(
        Code::AlreadyExists,
        "taken",
        status.encode_to_vec().into(),
    ));

    assert_eq!(
        (failure.code(), failure.message()),
        (Code::AlreadyExists, "taken")
    );
    assert_eq!(failure.reason(), "EMAIL_TAKEN");
    assert_eq!(failure.metadata("limit").as_deref(), Some("72"));
    assert_eq!(
        failure.fields(),
        [("user.email".to_owned(), "INVALID_FORMAT".to_owned())]
    );
    assert_eq!(failure.resource().unwrap().resource_name, "users/1");
    assert_eq!(failure.retry_delay(), Some(Duration::from_millis(1500)));
    assert_eq!(failure.error_id().as_deref(), Some("7"));
}

fn any(name: &str, detail: &impl Message) -> Any {
    Any {
        type_url: format!("type.googleapis.com/google.rpc.{name}"),
        value: detail.encode_to_vec(),
    }
}
