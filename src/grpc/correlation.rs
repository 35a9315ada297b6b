//! What ties together the log lines, errors and events of one call, and the calls of one request of a person.

use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

/// Names the call: callers may choose it, and every answer has it.
pub(super) const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The trace of the caller, as W3C Trace Context defines it.
const TRACEPARENT_HEADER: &str = "traceparent";

/// The id of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorrelationId(String);

impl CorrelationId {
    /// The most characters of an id: twice those of a UUID and some.
    pub const MAX_CHARACTERS: usize = 128;

    /// Takes the id that the caller chose in `x-request-id`, or makes one up if there is none, or none that is 1 to 128
    /// letters, digits, dots, colons, hyphens, underscores, slashes, plus and equals signs: it goes to logs.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".:-_/+=".contains(&byte);
        let chosen = headers
            .get(REQUEST_ID_HEADER)
            .and_then(|value| value.to_str().ok())
            .filter(|text| !text.is_empty() && text.len() <= Self::MAX_CHARACTERS)
            .filter(|text| text.bytes().all(is_allowed));
        Self(chosen.map_or_else(|| Uuid::new_v4().to_string(), str::to_owned))
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the text for the metadata of the answer.
    pub(super) fn header(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&self.0).ok()
    }
}

/// Returns the trace id of `traceparent`, if it is well-formed (W3C Trace Context §3.2).
pub(super) fn trace_id(headers: &HeaderMap) -> Option<&str> {
    /// The lengths of version, trace id, parent id and flags. Later versions may append more.
    const LENGTHS: [usize; 4] = [2, 32, 16, 2];
    let text = headers.get(TRACEPARENT_HEADER)?.to_str().ok()?;
    let mut parts = text.split('-');
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let mut known = [""; 4];
    for (part, length) in known.iter_mut().zip(LENGTHS) {
        *part = parts.next()?;
        if part.len() != length || !part.bytes().all(is_digit) {
            return None;
        }
    }
    let [version, trace_id, parent_id, _] = known;
    let is_zero = |digits: &str| digits.bytes().all(|byte| byte == b'0');
    let is_valid = version != "ff"
        && !is_zero(trace_id)
        && !is_zero(parent_id)
        && (version != "00" || parts.next().is_none());
    is_valid.then_some(trace_id)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::{CorrelationId, trace_id};

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).expect("a header"));
        headers
    }

    #[test]
    fn ids_are_taken_if_they_can_be_logged() {
        let longest = "x".repeat(CorrelationId::MAX_CHARACTERS);
        for text in ["a", "req-1/2:3", longest.as_str()] {
            assert_eq!(CorrelationId::of(&headers("x-request-id", text)).as_str(), text);
        }
        for text in ["", "a b", "a\tb", "\"", "é", &format!("{longest}x")] {
            assert_ne!(CorrelationId::of(&headers("x-request-id", text)).as_str(), text);
        }
    }

    #[test]
    fn trace_ids() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let good = format!("00-{trace}-00f067aa0ba902b7-01");
        assert_eq!(trace_id(&headers("traceparent", &good)), Some(trace));
        let later = format!("cc-{trace}-00f067aa0ba902b7-01-what-comes-later");
        assert_eq!(trace_id(&headers("traceparent", &later)), Some(trace));
        for text in [
            "",
            "00",
            &format!("ff-{trace}-00f067aa0ba902b7-01"),
            &format!("00-{trace}-0000000000000000-01"),
            &format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            &format!("{good}-more"),
            &good.to_uppercase(),
        ] {
            assert_eq!(trace_id(&headers("traceparent", text)), None, "{text}");
        }
    }
}
