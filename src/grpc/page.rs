//! Pages of lists (AIP-158): what the RPCs that list something have in common.

use chrono::{DateTime, Utc};
use prost::Message;
use ring::digest::{SHA256, digest};

use super::PageTokens;
use super::error::ApiError;
use super::violations::Violations;
use crate::domain::ListPosition;
use crate::proto::identity::v1::ErrorReason;

/// The size of a page unless the caller asks for another.
const DEFAULT_SIZE: i64 = 50;

/// The largest page.
const MAX_SIZE: i64 = 100;

/// A page as a caller asks for it.
pub(super) struct Page<'a, 'b, M> {
    /// Makes and reads page tokens.
    pub(super) tokens: &'a PageTokens,
    /// Which list it is.
    pub(super) list: &'b str,
    /// What is listed, and in which order: a token of one list is of no use for another.
    pub(super) what: &'b M,
    /// The size of the page.
    pub(super) size: i32,
    /// The token of the page before.
    pub(super) token: &'b str,
    /// The time of the call.
    pub(super) now: DateTime<Utc>,
}

/// A page that can be read.
pub(super) struct ParsedPage<'a> {
    tokens: &'a PageTokens,
    list_id: Vec<u8>,
    size: i64,
    after: Option<ListPosition>,
    now: DateTime<Utc>,
}

impl<'a, M: Message> Page<'a, '_, M> {
    /// Parses size and token, and notes what is wrong with them.
    pub(super) fn parse(self, violations: &mut Violations) -> Option<ParsedPage<'a>> {
        let text = [self.list.as_bytes(), b" ", &self.what.encode_to_vec()].concat();
        let list_id = digest(&SHA256, &text).as_ref().to_vec();
        let size = match i64::from(self.size) {
            ..0 => {
                violations.add("page_size", ErrorReason::ValueOutOfRange, "must not be negative");
                None
            }
            0 => Some(DEFAULT_SIZE),
            size => Some(size.min(MAX_SIZE)),
        };
        let after = if self.token.is_empty() {
            Some(None)
        } else if let Ok(position) = self.tokens.read(self.token, &list_id, self.now) {
            Some(Some(position))
        } else {
            violations.add(
                "page_token",
                ErrorReason::InvalidPageToken,
                "is not a token for this list, filter and order, or is too old",
            );
            None
        };
        Some(ParsedPage {
            tokens: self.tokens,
            list_id,
            size: size?,
            after: after?,
            now: self.now,
        })
    }
}

impl ParsedPage<'_> {
    /// Returns the position after which the page begins.
    pub(super) fn after(&self) -> Option<ListPosition> {
        self.after
    }

    /// Returns how many items to read: one more than the page has, to tell whether there is another page.
    pub(super) fn limit(&self) -> i64 {
        self.size + 1
    }

    /// Returns the items of the page and the token of the next one.
    pub(super) fn finish<T>(
        &self,
        mut found: Vec<T>,
        position: impl Fn(&T) -> ListPosition,
    ) -> Result<(Vec<T>, String), ApiError> {
        let length = usize::try_from(self.size).unwrap_or_default();
        let has_more = found.len() > length;
        found.truncate(length);
        let token = match found.last() {
            Some(last) if has_more => self
                .tokens
                .issue(position(last), &self.list_id, self.now)
                .ok_or_else(|| ApiError::internal(&"a page token could not be made"))?,
            _ => String::new(),
        };
        Ok((found, token))
    }
}
