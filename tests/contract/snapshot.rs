//! The API as a text, so that a change of it is a change of a file that is reviewed.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use prost_reflect::{
    Cardinality, DynamicMessage, EnumDescriptor, FieldDescriptor, MessageDescriptor, ServiceDescriptor,
};

use super::{files, pool, with_nested};
use crate::support::{Behaviour, plain};

pub fn tests() -> Vec<Behaviour> {
    plain![the_api_is_as_it_was_reviewed]
}

/// Set to 1 to write the file anew after a change that is wanted.
const UPDATE: &str = "IDENTITY_UPDATE_SNAPSHOTS";

fn the_api_is_as_it_was_reviewed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/contract/api.txt");
    let present = rendering();
    if env::var(UPDATE).is_ok_and(|value| value == "1") {
        fs::write(&path, &present).unwrap();
    }
    let reviewed = fs::read_to_string(&path).unwrap_or_default();

    let difference = difference(&reviewed, &present);

    assert!(
        difference.is_empty(),
        "the API differs from tests/contract/api.txt; if that is wanted, run this test once with {UPDATE}=1 \
         and review the change of the file:\n{difference}"
    );
}

/// The lines that one of the texts does not have; enough to see what has changed.
fn difference(reviewed: &str, present: &str) -> String {
    let missing = reviewed
        .lines()
        .filter(|line| !present.lines().any(|other| other == *line));
    let added = present
        .lines()
        .filter(|line| !reviewed.lines().any(|other| other == *line));
    let mut text: String = missing
        .map(|line| format!("- {line}\n"))
        .chain(added.map(|line| format!("+ {line}\n")))
        .collect();
    if text.is_empty() && reviewed != present {
        text.push_str("the same lines in another order\n");
    }
    text
}

fn rendering() -> String {
    let mut text = String::new();
    for file in files(&pool()) {
        let _ = writeln!(text, "# {}", file.name());
        for service in file.services() {
            render_service(&mut text, &service);
        }
        for message in file.messages().flat_map(with_nested) {
            render_message(&mut text, &message);
        }
        for declared in file.enums() {
            render_enum(&mut text, &declared);
        }
        text.push('\n');
    }
    text
}

fn render_service(text: &mut String, service: &ServiceDescriptor) {
    let _ = writeln!(text, "\nservice {}", service.full_name());
    for method in service.methods() {
        let stream = |is_streaming| if is_streaming { "stream " } else { "" };
        let _ = writeln!(
            text,
            "  {}({}{}) -> {}{}{}",
            method.name(),
            stream(method.is_client_streaming()),
            method.input().name(),
            stream(method.is_server_streaming()),
            method.output().name(),
            options(&method.options()),
        );
    }
}

fn render_message(text: &mut String, message: &MessageDescriptor) {
    let _ = writeln!(
        text,
        "\nmessage {}{}",
        message.full_name(),
        options(&message.options())
    );
    for field in message.fields() {
        render_field(text, &field);
    }
    for oneof in message.oneofs().filter(|oneof| !oneof.is_synthetic()) {
        let _ = writeln!(text, "  oneof {}{}", oneof.name(), options(&oneof.options()));
    }
    for range in message.reserved_ranges() {
        let _ = writeln!(text, "  reserved {}..{}", range.start, range.end);
    }
    for name in message.reserved_names() {
        let _ = writeln!(text, "  reserved {name:?}");
    }
}

fn render_field(text: &mut String, field: &FieldDescriptor) {
    let oneof = field.containing_oneof();
    let label = match (field.cardinality(), &oneof) {
        (Cardinality::Repeated, _) => "repeated ".to_owned(),
        (_, Some(oneof)) if oneof.is_synthetic() => "optional ".to_owned(),
        (_, Some(oneof)) => format!("oneof({}) ", oneof.name()),
        _ => String::new(),
    };
    let kind = field.kind();
    let declared = kind
        .as_message()
        .map(MessageDescriptor::full_name)
        .or(kind.as_enum().map(EnumDescriptor::full_name));
    let kind_name = match declared {
        Some(name) => name.to_owned(),
        None => format!("{kind:?}").to_lowercase(),
    };
    let _ = writeln!(
        text,
        "  {} = {}: {label}{kind_name}{}",
        field.name(),
        field.number(),
        options(&field.options()),
    );
}

fn render_enum(text: &mut String, declared: &EnumDescriptor) {
    let _ = writeln!(
        text,
        "\nenum {}{}",
        declared.full_name(),
        options(&declared.options())
    );
    for value in declared.values() {
        let _ = writeln!(
            text,
            "  {} = {}{}",
            value.name(),
            value.number(),
            options(&value.options())
        );
    }
    for range in declared.reserved_ranges() {
        let _ = writeln!(text, "  reserved {}..={}", range.start(), range.end());
    }
    for name in declared.reserved_names() {
        let _ = writeln!(text, "  reserved {name:?}");
    }
}

/// Options in the text format of Protocol Buffers, custom ones included.
fn options(options: &DynamicMessage) -> String {
    let text = options.to_string();
    if text.is_empty() {
        text
    } else {
        format!(" [{text}]")
    }
}
