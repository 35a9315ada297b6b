//! Values that break a rule of `buf.validate`, and no other.

use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, OneofDescriptor, ReflectMessage, Value,
};

/// A rule, and how a request breaks it.
pub struct Breach {
    /// The rule, such as `string.max_len`.
    pub rule: String,
    /// What the field is set to; nothing means that it is cleared.
    pub value: Option<Value>,
    /// What the violation names after the field: the index of an item.
    pub suffix: &'static str,
}

/// Ids that are well-formed.
const UUID: &str = "0190a6e1-7d5c-7abc-8def-0123456789ab";

/// Texts that are no UUID in its hyphenated form.
const NOT_UUIDS: [&str; 6] = [
    "nope",
    "0190a6e17d5c7abc8def0123456789ab",
    "{0190a6e1-7d5c-7abc-8def-0123456789ab}",
    "urn:uuid:0190a6e1-7d5c-7abc-8def-0123456789ab",
    "0190a6e1-7d5c-7abc-8def-0123456789ag",
    "                                    ",
];

/// Patterns, each with texts that do not match it.
const PATTERNS: [(&str, &[&str]); 2] = [
    (
        r"^\\[^\\]+\\[^\\]+$",
        &[r"d\u", r"\d", r"\d\", r"\\u", r"\d\u\v", r"\\d\u", "/d/u", r"\"],
    ),
    ("^[A-Za-z0-9._-]+$", &["a b", "a/b", "\u{e4}", " ", "a\n"]),
];

/// Texts that are no address of a machine.
const NOT_IPS: [&str; 6] = ["nope", "1.2.3", "1.2.3.4/8", "::g", "localhost", "256.1.1.1"];

/// Numbers that are values of no enum.
const NOT_DEFINED: [i32; 3] = [-1, 9999, i32::MAX];

/// Returns every breach of the rules of a field. Fails for a rule that it does not know.
pub fn breaches(pool: &DescriptorPool, field: &FieldDescriptor) -> Vec<Breach> {
    let Some(rules) = rules(pool, field) else {
        return Vec::new();
    };
    rules
        .fields()
        .filter(|(rule, _)| rule.name() != "ignore")
        .flat_map(|(rule, value)| match value.as_message() {
            Some(of_type) => of_type
                .fields()
                .flat_map(|(inner, limit)| {
                    let name = format!("{}.{}", rule.name(), inner.name());
                    breaches_of(field, &name, limit)
                })
                .collect(),
            None => breaches_of(field, rule.name(), value),
        })
        .collect()
}

/// Says whether the rules of a field leave an empty value alone.
pub fn allows_empty(pool: &DescriptorPool, field: &FieldDescriptor) -> bool {
    /// `IGNORE_IF_ZERO_VALUE`.
    const IF_ZERO_VALUE: i32 = 1;
    rules(pool, field)
        .and_then(|rules| {
            rules
                .get_field_by_name("ignore")
                .map(std::borrow::Cow::into_owned)
        })
        .is_some_and(|ignore| ignore == Value::EnumNumber(IF_ZERO_VALUE))
}

/// Says whether one of the fields of a `oneof` must be set.
pub fn is_required(pool: &DescriptorPool, oneof: &OneofDescriptor) -> bool {
    let extension = pool.get_extension_by_name("buf.validate.oneof").unwrap();
    let options = oneof.options();
    let rules = options.get_extension(&extension);
    let rules = rules.as_message().unwrap();
    for (rule, _) in rules.fields() {
        assert_eq!(
            rule.name(),
            "required",
            "an unknown rule of {}",
            oneof.full_name()
        );
    }
    rules
        .get_field_by_name("required")
        .is_some_and(|required| required.as_bool() == Some(true))
}

fn rules(pool: &DescriptorPool, field: &FieldDescriptor) -> Option<DynamicMessage> {
    let extension = pool.get_extension_by_name("buf.validate.field").unwrap();
    let options = field.options();
    assert!(
        options.unknown_fields().next().is_none(),
        "unknown options of {}",
        field.full_name()
    );
    if !options.has_extension(&extension) {
        return None;
    }
    let rules = options.get_extension(&extension).as_message().unwrap().clone();
    assert_no_unknown_rule(field, &rules);
    Some(rules)
}

/// A rule that our copy of `validate.proto` lacks would otherwise not be seen.
fn assert_no_unknown_rule(field: &FieldDescriptor, rules: &DynamicMessage) {
    let name = rules.descriptor().full_name().to_owned();
    assert!(
        rules.unknown_fields().next().is_none(),
        "unknown rules of {} in {name}",
        field.full_name()
    );
    for (_, value) in rules.fields() {
        if let Value::Message(inner) = value {
            assert_no_unknown_rule(field, inner);
        }
    }
}

fn breaches_of(field: &FieldDescriptor, rule: &str, limit: &Value) -> Vec<Breach> {
    let breach = |value| Breach {
        rule: rule.to_owned(),
        value,
        suffix: "",
    };
    let texts = |texts: &[&str]| {
        texts
            .iter()
            .map(|text| breach(Some(Value::String((*text).to_owned()))))
            .collect()
    };
    let number = limit.as_u64().and_then(|limit| usize::try_from(limit).ok());
    match (rule, number) {
        ("required", _) => vec![breach(None)],
        ("string.uuid", _) => texts(&NOT_UUIDS),
        ("string.ip", _) => texts(&NOT_IPS),
        ("string.min_len", Some(least)) => texts(&["a".repeat(least - 1).as_str(), "a"]),
        ("string.max_len" | "string.max_bytes", Some(most)) => texts(&[
            too_long(field.name(), most + 1).as_str(),
            too_long(field.name(), 2 * most).as_str(),
        ]),
        ("string.pattern", _) => {
            let pattern = limit.as_str().unwrap();
            let known = PATTERNS.iter().find(|(known, _)| *known == pattern);
            let (_, others) = known.unwrap_or_else(|| panic!("add {pattern} to PATTERNS"));
            texts(others)
        }
        ("int32.gte", _) => {
            let least = limit.as_i32().unwrap();
            vec![
                breach(Some(Value::I32(least - 1))),
                breach(Some(Value::I32(i32::MIN))),
            ]
        }
        ("enum.defined_only", _) => NOT_DEFINED
            .into_iter()
            .map(|unknown| breach(Some(Value::EnumNumber(unknown))))
            .collect(),
        ("enum.not_in", _) => limit
            .as_list()
            .unwrap()
            .iter()
            .map(|excluded| breach(Some(Value::EnumNumber(excluded.as_i32().unwrap()))))
            .collect(),
        ("repeated.min_items", Some(least)) => vec![breach(Some(items(field, least - 1)))],
        ("repeated.max_items", Some(most)) => vec![breach(Some(items(field, most + 1)))],
        ("repeated.items", _) => breaches_of_items(field, limit.as_message().unwrap()),
        _ => panic!("how is {rule} of {} violated?", field.full_name()),
    }
}

/// Breaks the rules of the items of a list in the second one.
fn breaches_of_items(field: &FieldDescriptor, rules: &DynamicMessage) -> Vec<Breach> {
    match rules.to_string().as_str() {
        "string{uuid:true}" => breaches_of_ids(),
        "enum{defined_only:true,not_in:[0]}" => breaches_of_enum_values(),
        unknown => panic!("how is {unknown} of the items of {} violated?", field.full_name()),
    }
}

fn breaches_of_enum_values() -> Vec<Breach> {
    NOT_DEFINED
        .into_iter()
        .chain([0])
        .map(|number| Breach {
            rule: "repeated.items.enum".to_owned(),
            value: Some(Value::List(vec![Value::EnumNumber(1), Value::EnumNumber(number)])),
            suffix: "[1]",
        })
        .collect()
}

fn breaches_of_ids() -> Vec<Breach> {
    NOT_UUIDS
        .into_iter()
        .chain([""])
        .map(|text| {
            let items = [UUID, text].map(|item| Value::String(item.to_owned()));
            Breach {
                rule: "repeated.items.string.uuid".to_owned(),
                value: Some(Value::List(items.to_vec())),
                suffix: "[1]",
            }
        })
        .collect()
}

/// So many items that are as they should be.
fn items(field: &FieldDescriptor, count: usize) -> Value {
    let kind = field.kind();
    let item = if let Kind::Message(message) = kind {
        Value::Message(DynamicMessage::new(message))
    } else if matches!(kind, Kind::Enum(_)) {
        Value::EnumNumber(1)
    } else {
        Value::String(UUID.to_owned())
    };
    Value::List(vec![item; count])
}

/// A text of `length` bytes in which only the length is wrong, where the field asks for a form.
fn too_long(field: &str, length: usize) -> String {
    let label = "d".repeat(63);
    match field {
        "email" => {
            let local = "a".repeat(64);
            let domain = format!("{}.com", [label.as_str(); 9].join("."));
            let head = format!("{local}@");
            head.clone() + &domain[domain.len() - (length - head.len())..]
        }
        "username" => format!(r"\d\{}", "u".repeat(length - 3)),
        "order_by" => format!("{:<length$}", "create_time"),
        _ => "a".repeat(length),
    }
}
