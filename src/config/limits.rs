//! Limits on calls: `IDENTITY_MAX_DEADLINE`, `IDENTITY_MAX_REQUEST_BYTES`,
//! `IDENTITY_MAX_CONCURRENT_STREAMS`.

use std::time::Duration;

use super::variable::{Reader, Variable};

const MAX_DEADLINE: Variable = Variable::new(
    "IDENTITY_MAX_DEADLINE",
    "15s",
    "How long a call may take, also if its caller allows more or sets no deadline",
);
const MAX_REQUEST_BYTES: Variable =
    Variable::new("IDENTITY_MAX_REQUEST_BYTES", "262144", "The largest request");
const MAX_CONCURRENT_STREAMS: Variable = Variable::new(
    "IDENTITY_MAX_CONCURRENT_STREAMS",
    "256",
    "The most calls at the same time on one connection",
);

pub(super) const VARIABLES: &[Variable] = &[MAX_DEADLINE, MAX_REQUEST_BYTES, MAX_CONCURRENT_STREAMS];

/// Limits on calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitSettings {
    /// How long a call may take.
    pub max_deadline: Duration,
    /// The largest request, in bytes.
    pub max_request_bytes: usize,
    /// The most calls at the same time on one connection.
    pub max_concurrent_streams: u32,
}

impl LimitSettings {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let max_deadline = reader.duration(
            &MAX_DEADLINE,
            Duration::from_millis(1)..=Duration::from_secs(3600),
        );
        let max_request_bytes = reader.number(&MAX_REQUEST_BYTES, 1024..=16 * 1024 * 1024);
        let max_concurrent_streams = reader.number(&MAX_CONCURRENT_STREAMS, 1..=10_000);
        Some(Self {
            max_deadline: max_deadline?,
            max_request_bytes: max_request_bytes?,
            max_concurrent_streams: max_concurrent_streams?,
        })
    }
}
