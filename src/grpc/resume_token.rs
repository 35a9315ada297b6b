//! Resume tokens of `WatchUsers`: a position in the changes of one database, sealed.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::seal::Seal;
use crate::database::DatabaseKind;
use crate::domain::{EventCursor, EventMark, SnapshotPosition, UserId, WatchPosition};
use crate::master_key::{KeyPurpose, MasterKey};

/// Makes and reads resume tokens.
#[derive(Clone)]
pub struct ResumeTokens(Arc<Seal>);

impl fmt::Debug for ResumeTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResumeTokens([redacted])")
    }
}

/// Marks what follows in a token, or that nothing does.
const ABSENT: u8 = 0;
const PRESENT: u8 = 1;

impl ResumeTokens {
    /// Derives the key; `None` only if the cipher does not take keys of its own length.
    #[must_use]
    pub fn new(master_key: &MasterKey) -> Option<Self> {
        Some(Self(Arc::new(Seal::new(master_key, KeyPurpose::ResumeTokens)?)))
    }

    /// Makes the token of a position.
    pub(super) fn issue(&self, position: &WatchPosition, database: DatabaseKind) -> Option<String> {
        let WatchPosition {
            cursor,
            as_of,
            mark,
            snapshot,
        } = position;
        let mut plain = Vec::new();
        for number in [cursor.from, cursor.to, cursor.sequence, as_of.timestamp_micros()] {
            plain.extend(number.to_be_bytes());
        }
        match mark {
            None => plain.push(ABSENT),
            Some(mark) => {
                plain.push(PRESENT);
                plain.extend(mark.id.as_bytes());
                plain.extend(mark.occurred_at.timestamp_micros().to_be_bytes());
            }
        }
        match snapshot {
            None => plain.push(ABSENT),
            Some(SnapshotPosition::Beginning) => {
                plain.push(PRESENT);
                plain.push(ABSENT);
            }
            Some(SnapshotPosition::After(id)) => {
                plain.extend([PRESENT, PRESENT]);
                plain.extend(id.uuid().as_bytes());
            }
        }
        self.0.seal(&plain, context(database))
    }

    /// Reads a token; `None` if it is not one of ours for this kind of database.
    pub(super) fn read(&self, token: &str, database: DatabaseKind) -> Option<WatchPosition> {
        let plain = self.0.open(token, context(database))?;
        let mut rest = Rest(&plain);
        let cursor = EventCursor {
            from: rest.number()?,
            to: rest.number()?,
            sequence: rest.number()?,
        };
        let as_of = rest.time()?;
        let mark = match rest.byte()? {
            ABSENT => None,
            _ => Some(EventMark {
                id: rest.uuid()?,
                occurred_at: rest.time()?,
            }),
        };
        let snapshot = match rest.byte()? {
            ABSENT => None,
            _ => Some(match rest.byte()? {
                ABSENT => SnapshotPosition::Beginning,
                _ => SnapshotPosition::After(UserId::from_stored(rest.uuid()?)),
            }),
        };
        Some(WatchPosition {
            cursor,
            as_of,
            mark,
            snapshot,
        })
    }
}

/// Positions mean something else on the other kind of database.
const fn context(database: DatabaseKind) -> &'static [u8] {
    match database {
        DatabaseKind::Postgres => b"WatchUsers postgres 1",
        DatabaseKind::Sqlite => b"WatchUsers sqlite 1",
    }
}

/// What has not been read of a token.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn number(&mut self) -> Option<i64> {
        self.take().map(i64::from_be_bytes)
    }

    fn time(&mut self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_micros(self.number()?)
    }

    fn uuid(&mut self) -> Option<Uuid> {
        self.take().map(Uuid::from_bytes)
    }
}
