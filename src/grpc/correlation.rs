//! What ties together the log lines, errors and events of one call, and the calls of one request of a person.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::domain::CorrelationId;

/// Names the call: callers may choose it, and every answer has it.
pub(super) const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The trace of the caller, as W3C Trace Context defines it.
const TRACEPARENT_HEADER: &str = "traceparent";

/// Returns the id of a call: the one that its caller chose in `x-request-id`, or a new one if there is none, or none that
/// can be logged.
pub(super) fn id_of(headers: &HeaderMap) -> CorrelationId {
    let chosen = headers
        .get(REQUEST_ID_HEADER)
        .and_then(|value| CorrelationId::parse(value.to_str().ok()?).ok());
    chosen.unwrap_or_else(CorrelationId::generate)
}

/// Returns an id for the metadata of the answer. It is hardly ever sent twice, so that it is kept out of the table by which
/// HPACK compresses what comes again (RFC 7541 §7.1.3 has sensitive values for that).
pub(super) fn header_of(id: &CorrelationId) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(id.as_str()).ok()?;
    value.set_sensitive(true);
    Some(value)
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

    use super::{id_of, trace_id};

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).expect("a header"));
        headers
    }

    #[test]
    fn ids_are_taken_if_they_can_be_logged() {
        for text in ["a", "req-1/2:3"] {
            assert_eq!(id_of(&headers("x-request-id", text)).as_str(), text);
        }
        for text in ["", "a b", "a\tb", "\"", "é"] {
            assert_ne!(id_of(&headers("x-request-id", text)).as_str(), text);
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
