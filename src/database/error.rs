//! What can go wrong in the database, told apart by what a caller can do about it.

use diesel::result::{DatabaseErrorKind, Error as DieselError};

use crate::domain::Refusal;

/// Why a read or a transaction failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DatabaseError {
    /// The change is not possible, for a reason of the domain. Nothing was written.
    #[error("refused: {0:?}")]
    Refused(Refusal),
    /// The database cannot be reached, or has no connection free. If a commit was under way, the change
    /// may or may not have taken effect.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// The database did not answer in time. If a commit was under way, the change may or may not have taken
    /// effect.
    #[error("the database did not answer in time")]
    TimedOut,
    /// Other transactions got in the way; trying again may succeed. Nothing was written.
    #[error("the transaction could not be serialised: {0}")]
    Conflict(String),
    /// Anything else: a fault of this service.
    #[error("the database refused a statement: {0}")]
    Internal(String),
}

impl DatabaseError {
    /// Tells whether nothing was written and the same transaction may succeed when tried again.
    pub(crate) const fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict(_))
    }

    /// Tells whether the connection on which this happened is of no more use.
    pub(crate) const fn is_of_connection(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::TimedOut)
    }
}

impl From<Refusal> for DatabaseError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<DieselError> for DatabaseError {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "Diesel may add kinds of errors, all of which are faults of this service"
    )]
    fn from(error: DieselError) -> Self {
        use DatabaseErrorKind::{
            ClosedConnection, ReadOnlyTransaction, SerializationFailure, UnableToSendCommand,
            UniqueViolation,
        };
        // Diesel prints the message of the database, never the details that hold the row's values.
        let text = error.to_string();
        match &error {
            DieselError::DatabaseError(UniqueViolation, information) => {
                let constraint = information.constraint_name().unwrap_or(information.message());
                // Another process made the first or the next key at the same time; there is one now.
                if constraint.contains("signing_keys_newest_key") {
                    return Self::Conflict(text);
                }
                refusal_of(constraint).map_or(Self::Internal(text), Self::Refused)
            }
            DieselError::DatabaseError(SerializationFailure, _) => Self::Conflict(text),
            DieselError::DatabaseError(
                UnableToSendCommand | ClosedConnection | ReadOnlyTransaction,
                _,
            )
            | DieselError::BrokenTransactionManager => Self::Unavailable(text),
            DieselError::DatabaseError(_, information) => match kind_of_message(information.message()) {
                MessageKind::Conflict => Self::Conflict(text),
                MessageKind::Unavailable => Self::Unavailable(text),
                MessageKind::Other => Self::Internal(text),
            },
            _ => Self::Internal(text),
        }
    }
}

/// Recognises a unique constraint by its name on PostgreSQL, and by the column that SQLite names instead.
fn refusal_of(constraint: &str) -> Option<Refusal> {
    match constraint {
        "users_email_normalized_key" | "UNIQUE constraint failed: users.email_normalized" => {
            Some(Refusal::EmailTaken)
        }
        "users_username_normalized_key" | "UNIQUE constraint failed: users.username_normalized" => {
            Some(Refusal::UsernameTaken)
        }
        "users_pkey" | "UNIQUE constraint failed: users.id" => Some(Refusal::UserIdTaken),
        _ => None,
    }
}

enum MessageKind {
    Conflict,
    Unavailable,
    Other,
}

/// Tells apart the errors for which Diesel has no kind of its own.
fn kind_of_message(message: &str) -> MessageKind {
    /// Another transaction held what this one needed.
    const CONFLICTS: [&str; 4] = [
        "deadlock detected",
        "canceling statement due to lock timeout",
        "database is locked",
        "database table is locked",
    ];
    /// The database went away, is starting or stopping, took too long, or cannot write.
    const OUTAGES: [&str; 14] = [
        "terminating connection",
        "canceling statement due to",
        "the database system is",
        "connection closed",
        "too many clients",
        "too many connections",
        "remaining connection slots",
        "could not extend file",
        "No space left on device",
        "database or disk is full",
        "disk I/O error",
        "unable to open database file",
        "attempt to write a readonly database",
        "interrupted",
    ];
    if CONFLICTS.iter().any(|text| message.contains(text)) {
        MessageKind::Conflict
    } else if OUTAGES.iter().any(|text| message.contains(text)) {
        MessageKind::Unavailable
    } else {
        MessageKind::Other
    }
}
