//! Everything in the API is commented.

use prost_reflect::FileDescriptor;

use super::{files, pool, with_nested};
use crate::support::{Behaviour, plain};

pub fn tests() -> Vec<Behaviour> {
    plain![every_element_of_the_api_has_a_comment]
}

fn every_element_of_the_api_has_a_comment() {
    let pool = pool();
    let elements: Vec<Element> = files(&pool).iter().flat_map(elements_of).collect();

    let without: Vec<&str> = elements
        .iter()
        .filter(|element| element.comment.trim().is_empty())
        .map(|element| element.name.as_str())
        .collect();

    assert!(
        elements.len() > 150,
        "only {} elements were found",
        elements.len()
    );
    assert!(without.is_empty(), "without a comment: {without:#?}");
}

struct Element {
    name: String,
    comment: String,
}

fn elements_of(file: &FileDescriptor) -> Vec<Element> {
    let mut elements = Vec::new();
    let mut add = |name: &str, path: &[i32]| {
        elements.push(Element {
            name: name.to_owned(),
            comment: comment(file, path),
        });
    };
    for service in file.services() {
        add(service.full_name(), service.path());
        for method in service.methods() {
            add(method.full_name(), method.path());
        }
    }
    for message in file.messages().flat_map(with_nested) {
        add(message.full_name(), message.path());
        for field in message.fields() {
            add(field.full_name(), field.path());
        }
        for oneof in message.oneofs().filter(|oneof| !oneof.is_synthetic()) {
            add(oneof.full_name(), oneof.path());
        }
    }
    for declared in file.enums() {
        add(declared.full_name(), declared.path());
        for value in declared.values() {
            add(value.full_name(), value.path());
        }
    }
    elements
}

/// The comment above an element.
fn comment(file: &FileDescriptor, path: &[i32]) -> String {
    let info = file.file_descriptor_proto().source_code_info.as_ref();
    info.expect("the comments are in the descriptor set")
        .location
        .iter()
        .find(|location| location.path == path)
        .map(|location| location.leading_comments().to_owned())
        .unwrap_or_default()
}
