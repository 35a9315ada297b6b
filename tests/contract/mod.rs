//! The contract: what the protos promise.

mod comments;
mod reasons;
mod redaction;
mod reflection;
mod rules;
mod snapshot;
mod violating;

use identity::proto::DESCRIPTOR_SET;
use prost_reflect::{DescriptorPool, FileDescriptor, MessageDescriptor, Value};

use crate::support::Behaviour;

pub fn tests() -> Vec<Behaviour> {
    [
        comments::tests(),
        reasons::tests(),
        redaction::tests(),
        reflection::tests(),
        rules::tests(),
        snapshot::tests(),
    ]
    .concat()
}

/// The descriptors, with comments and custom options.
fn pool() -> DescriptorPool {
    DescriptorPool::decode(DESCRIPTOR_SET).expect("the descriptor set")
}

/// The files of our own API, in the order of their names.
fn files(pool: &DescriptorPool) -> Vec<FileDescriptor> {
    let mut files: Vec<FileDescriptor> = pool
        .files()
        .filter(|file| file.package_name() == "identity.v1")
        .collect();
    files.sort_by(|one, other| one.name().cmp(other.name()));
    assert!(!files.is_empty(), "no file of identity.v1");
    files
}

/// A message of a file and those declared inside it.
fn with_nested(message: MessageDescriptor) -> Vec<MessageDescriptor> {
    let nested: Vec<MessageDescriptor> = message.child_messages().flat_map(with_nested).collect();
    [vec![message], nested].concat()
}

/// Says whether a field is marked `debug_redact`.
fn is_redacted(field: &prost_reflect::FieldDescriptor) -> bool {
    field
        .options()
        .get_field_by_name("debug_redact")
        .is_some_and(|value| value.as_ref() == &Value::Bool(true))
}
