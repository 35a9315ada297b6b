//! The fields of spans, as the JSON log has them.

use std::fmt::{self, Debug, Display, Write};

use tracing::field::{Field, Visit};
use tracing::span::Record;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormattedFields;
use tracing_subscriber::fmt::format::{FormatFields, Writer};

/// Writes the fields of a span as a JSON object, each as it comes.
///
/// Every call has a span, and hardly any has a line in the log. `JsonFields` of tracing-subscriber, which puts the fields into
/// a map before it writes them piece by piece, takes a twentieth of the instructions of a read.
#[derive(Debug, Clone, Copy)]
pub(super) struct SpanFields;

impl<'writer> FormatFields<'writer> for SpanFields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut object = Object::new();
        fields.record(&mut object);
        writer.write_str(&object.end())
    }

    fn add_fields(
        &self,
        current: &'writer mut FormattedFields<Self>,
        fields: &Record<'_>,
    ) -> fmt::Result {
        let mut object = Object::reopened(&current.fields);
        fields.record(&mut object);
        current.fields = object.end();
        Ok(())
    }
}

/// A JSON object that is being written.
struct Object(String);

impl Object {
    /// Begins an object with room for the fields of a call.
    fn new() -> Self {
        const ROOM: usize = 192;
        let mut text = String::with_capacity(ROOM);
        text.push('{');
        Self(text)
    }

    /// Goes on with an object. Of two fields with one name, readers of JSON take the second.
    fn reopened(text: &str) -> Self {
        Self(text.strip_suffix('}').unwrap_or("{").to_owned())
    }

    fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }

    fn name(&mut self, field: &Field) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.text(field.name().trim_start_matches("r#"));
        self.0.push(':');
    }

    fn text(&mut self, text: &str) {
        let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
        if text.bytes().all(is_plain) {
            self.0.push('"');
            self.0.push_str(text);
            self.0.push('"');
        } else {
            self.0.push_str(&serde_json::Value::from(text).to_string());
        }
    }

    fn value(&mut self, field: &Field, value: impl Display) {
        self.name(field);
        // Writing to a string does not fail.
        let _ = write!(self.0, "{value}");
    }
}

impl Visit for Object {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.name(field);
        self.text(value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.value(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.value(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // What is not finite is null in JSON.
        self.value(field, serde_json::Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.value(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.name(field);
        self.text(&format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use serde_json::Value;
    use tracing_subscriber::fmt::format::{FormatFields, JsonFields};
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::registry;

    use super::SpanFields;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("the lines").write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// Returns what the log says of the spans of a line.
    fn spans_of_a_line<F>(fields: F, log: impl FnOnce()) -> Value
    where
        F: for<'writer> FormatFields<'writer> + Send + Sync + 'static,
    {
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = tracing_subscriber::fmt::layer()
            .json()
            .fmt_fields(fields)
            .with_writer(move || writer.clone());
        tracing::subscriber::with_default(registry().with(layer), log);
        let written = lines.0.lock().expect("the lines").clone();
        let line: Value = serde_json::from_slice(&written).expect("a line of JSON");
        line["spans"].clone()
    }

    fn log_within_spans() {
        let texts = [
            "",
            "plain",
            "\"quoted\" \\",
            "two\nlines\u{1b}[0m",
            "Zoë 漢 \u{7f}",
        ];
        let call = tracing::error_span!(
            "call",
            method = "/identity.v1.UserService/GetUser",
            correlation_id = texts[1],
            trace_id = None::<&str>,
            empty = texts[0],
            quoted = texts[2],
            control = texts[3],
            foreign = texts[4],
            r#type = ?Some("debug \"form\""),
            shown = %"display",
            whole = -3,
            natural = u64::MAX,
            long = i128::MIN,
            part = 0.25,
            none = f64::NAN,
            is_good = true,
            late = tracing::field::Empty,
        );
        call.record("late", "added").record("whole", 4);
        let _call = call.entered();
        let _bare = tracing::error_span!("bare").entered();
        let filled = tracing::error_span!("filled", late = tracing::field::Empty);
        filled.record("late", 1);
        let _filled = filled.entered();
        tracing::error!("a line");
    }

    #[test]
    fn lines_are_those_of_the_library() {
        let ours = spans_of_a_line(SpanFields, log_within_spans);
        assert_eq!(ours, spans_of_a_line(JsonFields::new(), log_within_spans));
        assert_eq!(ours[0]["whole"], 4);
        assert_eq!(ours[2]["late"], 1);
    }
}
