//! Requests on their way in, where every mistake is collected, and tasks on their way out.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use prost_types::Timestamp;
use uuid::Uuid;

use super::error::{ApiError, Violations};
use crate::database::rows::{Position, Task};
use crate::proto::tasks::v1::{self as proto, ErrorReason};

/// Returns the id of a task.
pub(super) fn task_id(text: &str) -> Result<Uuid, ApiError> {
    let mut violations = Violations::default();
    let id = read_id(&mut violations, "task_id", text);
    violations.finish(id)
}

/// Reads the id of a task, or notes why there is none.
pub(super) fn read_id(violations: &mut Violations, field: &str, text: &str) -> Option<Uuid> {
    /// Of a UUID with hyphens, the one form that is taken.
    const CHARACTERS: usize = 36;
    if text.is_empty() {
        violations.add(field, ErrorReason::FieldRequired, "is required");
        return None;
    }
    let id = Uuid::try_parse(text).ok().filter(|_| text.len() == CHARACTERS);
    if id.is_none() {
        violations.add(field, ErrorReason::InvalidFormat, "is not a UUID with hyphens");
    }
    id
}

/// Reads a title, or notes why there is none.
pub(super) fn read_title(violations: &mut Violations, title: String) -> Option<String> {
    /// What a list of tasks can show.
    const MAX_CHARACTERS: usize = 200;
    if title.is_empty() {
        violations.add("task.title", ErrorReason::FieldRequired, "is required");
        return None;
    }
    if title.chars().count() > MAX_CHARACTERS {
        violations.add(
            "task.title",
            ErrorReason::ValueOutOfRange,
            "has more than 200 characters",
        );
        return None;
    }
    // PostgreSQL cannot store it.
    if title.contains('\0') {
        violations.add("task.title", ErrorReason::InvalidFormat, "contains a NUL");
        return None;
    }
    Some(title)
}

/// A list of tasks. Tokens of one are no tokens of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum List {
    /// The caller's.
    Own,
    /// Those of nobody.
    Unowned,
}

/// A page that is asked for.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) size: usize,
    pub(super) after: Option<Position>,
}

impl Page {
    /// Reads which page is asked for.
    pub(super) fn read(list: List, size: i32, token: &str) -> Result<Self, ApiError> {
        const DEFAULT_SIZE: usize = 50;
        const MAX_SIZE: usize = 100;
        let mut violations = Violations::default();
        let size = usize::try_from(size).map_or_else(
            |_| {
                violations.add("page_size", ErrorReason::ValueOutOfRange, "is negative");
                None
            },
            |size| {
                Some(if size == 0 {
                    DEFAULT_SIZE
                } else {
                    size.min(MAX_SIZE)
                })
            },
        );
        let after = if token.is_empty() {
            None
        } else {
            let position = position_of(list, token);
            if position.is_none() {
                violations.add(
                    "page_token",
                    ErrorReason::InvalidPageToken,
                    "is not a token of this list",
                );
            }
            position
        };
        violations.finish(size.map(|size| Self { size, after }))
    }

    /// How many rows to read: one more than asked for tells whether there is another page.
    pub(super) fn limit(&self) -> i64 {
        i64::try_from(self.size).unwrap_or(i64::MAX).saturating_add(1)
    }

    /// Returns the tasks of the page, and the token of the next.
    pub(super) fn finish(&self, list: List, mut rows: Vec<Task>) -> (Vec<proto::Task>, String) {
        let has_more = rows.len() > self.size;
        rows.truncate(self.size);
        let next_page_token = match rows.last() {
            Some(last) if has_more => token_of(list, last.into()),
            _ => String::new(),
        };
        (rows.into_iter().map(proto::Task::from).collect(), next_page_token)
    }
}

/// Makes the token for the page after a position. It need not be kept from being forged: it says where in a list to go
/// on, never whose list it is.
fn token_of(list: List, position: Position) -> String {
    let mut bytes = vec![mark_of(list)];
    bytes.extend(position.created_at.timestamp_micros().to_be_bytes());
    bytes.extend(position.id.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

fn position_of(list: List, token: &str) -> Option<Position> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (mark, rest) = bytes.split_first()?;
    let (time, id) = rest.split_first_chunk::<8>()?;
    if *mark != mark_of(list) {
        return None;
    }
    Some(Position {
        created_at: storable(DateTime::from_timestamp_micros(i64::from_be_bytes(*time))?)?,
        id: Uuid::from_slice(id).ok()?,
    })
}

/// Refuses a time that PostgreSQL has no room for; those of tasks are of our days.
fn storable(time: DateTime<Utc>) -> Option<DateTime<Utc>> {
    use chrono::Datelike as _;
    (0..=9999).contains(&time.year()).then_some(time)
}

const fn mark_of(list: List) -> u8 {
    match list {
        List::Own => 1,
        List::Unowned => 2,
    }
}

impl From<Task> for proto::Task {
    fn from(task: Task) -> Self {
        Self {
            id: task.id.to_string(),
            title: task.title,
            done: task.done,
            create_time: Some(timestamp(task.created_at)),
            update_time: Some(timestamp(task.updated_at)),
        }
    }
}

fn timestamp(time: DateTime<Utc>) -> Timestamp {
    Timestamp {
        seconds: time.timestamp(),
        // Below a thousand million, or a little above in a leap second.
        nanos: i32::try_from(time.timestamp_subsec_nanos()).unwrap_or_default(),
    }
}
