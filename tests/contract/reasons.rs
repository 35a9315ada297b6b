//! The reasons of errors.

use prost_reflect::EnumValueDescriptor;

use super::pool;
use crate::support::{Behaviour, plain};

pub fn tests() -> Vec<Behaviour> {
    plain![
        reasons_are_names_that_error_info_allows,
        every_reason_says_its_code_and_an_example
    ]
}

/// The prefix that names have in the enum and not on the wire.
const PREFIX: &str = "ERROR_REASON_";

/// The codes of failed calls.
const CODES: [&str; 16] = [
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// What google.rpc.ErrorInfo asks of a reason: at most 63 characters of `[A-Z][A-Z0-9_]+[A-Z0-9]`.
fn reasons_are_names_that_error_info_allows() {
    for value in values() {
        let name = value.name().strip_prefix(PREFIX).expect("the prefix");
        let bytes = name.as_bytes();
        let is_inside = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_';

        assert!((3..=63).contains(&bytes.len()), "{name}");
        assert!(bytes[0].is_ascii_uppercase(), "{name}");
        assert!(bytes.iter().all(is_inside), "{name}");
        assert!(!name.ends_with('_'), "{name}");
    }
}

fn every_reason_says_its_code_and_an_example() {
    let values = values();
    assert!(values.len() > 20, "{}", values.len());
    for value in values {
        let comment = comment(&value);
        let code = comment.split('.').next().unwrap().trim();
        assert!(CODES.contains(&code), "{}: {comment}", value.name());
        assert!(comment.contains("Example: "), "{}: {comment}", value.name());
    }
}

/// The reasons, without the value that stands for none.
fn values() -> Vec<EnumValueDescriptor> {
    let reasons = pool().get_enum_by_name("identity.v1.ErrorReason").unwrap();
    let values: Vec<EnumValueDescriptor> =
        reasons.values().filter(|value| value.number() != 0).collect();
    values
}

fn comment(value: &EnumValueDescriptor) -> String {
    let file = value.parent_enum().parent_file();
    let info = file.file_descriptor_proto().source_code_info.clone().unwrap();
    let found = info
        .location
        .into_iter()
        .find(|location| location.path == value.path());
    found.unwrap().leading_comments().to_owned()
}
