//! The fields of a request that are wrong: all of them, not the first.

use std::collections::HashMap;

use tonic_types::pb::bad_request::FieldViolation;

use crate::domain::{Invalid, InvalidReason};
use crate::proto::identity::v1::ErrorReason;

/// Collects what is wrong with a request.
#[derive(Debug, Default)]
pub(crate) struct Violations(Vec<Violation>);

#[derive(Debug)]
struct Violation {
    field: String,
    reason: ErrorReason,
    description: String,
    limit: Option<i64>,
}

impl From<InvalidReason> for ErrorReason {
    fn from(reason: InvalidReason) -> Self {
        match reason {
            InvalidReason::Required => Self::FieldRequired,
            InvalidReason::Format => Self::InvalidFormat,
            InvalidReason::OutOfRange { .. } => Self::ValueOutOfRange,
            InvalidReason::TooWeak { .. } | InvalidReason::Personal => Self::PasswordTooWeak,
            InvalidReason::Breached => Self::PasswordBreached,
        }
    }
}

impl Violations {
    /// One field that is wrong.
    pub(super) fn one(field: &str, reason: ErrorReason, description: &str) -> Self {
        let mut violations = Self::default();
        violations.add(field, reason, description);
        violations
    }

    /// Notes that a field is wrong.
    pub(super) fn add(&mut self, field: &str, reason: ErrorReason, description: &str) {
        self.0.push(Violation {
            field: field.to_owned(),
            reason,
            description: description.to_owned(),
            limit: None,
        });
    }

    /// Takes the value of a field, or notes why there is none.
    pub(super) fn take<T>(&mut self, field: &str, value: Result<T, Invalid>) -> Option<T> {
        value.map_err(|invalid| self.add_invalid(field, invalid)).ok()
    }

    fn add_invalid(&mut self, field: &str, invalid: Invalid) {
        let limit = match invalid.reason {
            InvalidReason::OutOfRange { limit } | InvalidReason::TooWeak { limit } => Some(limit),
            InvalidReason::Required
            | InvalidReason::Format
            | InvalidReason::Personal
            | InvalidReason::Breached => None,
        };
        self.0.push(Violation {
            field: field.to_owned(),
            reason: invalid.reason.into(),
            description: invalid.description,
            limit,
        });
    }

    /// Returns `value` if nothing was wrong, and what was wrong otherwise.
    pub(super) fn finish<T>(self, value: Option<T>) -> Result<T, Self> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(self),
        }
    }

    /// Returns the reason for all of it, a text, the metadata, and the violations.
    ///
    /// The reason is that of the violations if they agree.
    pub(super) fn into_parts(
        self,
    ) -> (ErrorReason, String, HashMap<String, String>, Vec<FieldViolation>) {
        let reason = match self.0.as_slice() {
            [first, rest @ ..] if rest.iter().all(|other| other.reason == first.reason) => first.reason,
            _ => ErrorReason::InvalidFields,
        };
        let mut metadata = HashMap::new();
        if let [violation] = self.0.as_slice()
            && let Some(limit) = violation.limit
        {
            metadata.insert("limit".to_owned(), limit.to_string());
        }
        let texts: Vec<String> = self
            .0
            .iter()
            .map(|violation| format!("{}: {}", violation.field, violation.description))
            .collect();
        let violations = self
            .0
            .into_iter()
            .map(|violation| FieldViolation {
                field: violation.field,
                description: violation.description,
                reason: reason_name(violation.reason),
                localized_message: None,
            })
            .collect();
        (reason, texts.join("; "), metadata, violations)
    }
}

/// Three values, if none of them is missing.
pub(super) fn all<A, B, C>(a: Option<A>, b: Option<B>, c: Option<C>) -> Option<(A, B, C)> {
    Some((a?, b?, c?))
}

/// The name of a reason on the wire: that of the enum value without its prefix.
pub(super) fn reason_name(reason: ErrorReason) -> String {
    let name = reason.as_str_name();
    name.strip_prefix("ERROR_REASON_").unwrap_or(name).to_owned()
}
