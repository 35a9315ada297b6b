//! The time, as a parameter: nothing else in the service asks the operating system for the date.

use std::fmt::Debug;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

/// Tells the time.
pub trait Clock: Debug + Send + Sync + 'static {
    /// Returns the present time in UTC, rounded down to the microseconds that both databases keep.
    fn now(&self) -> DateTime<Utc>;
}

/// The clock of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        /// Digits after the second that PostgreSQL's `timestamptz` keeps.
        const MICROSECOND_DIGITS: u16 = 6;
        Utc::now().trunc_subsecs(MICROSECOND_DIGITS)
    }
}

/// A clock that is `offset` ahead of the machine's, for tests that need a day to pass.
#[derive(Debug, Default)]
pub struct ShiftedClock {
    offset: Mutex<TimeDelta>,
}

impl ShiftedClock {
    /// Moves the clock by `step`, forward or back.
    pub fn advance(&self, step: TimeDelta) {
        let mut offset = self.offset.lock().unwrap_or_else(PoisonError::into_inner);
        *offset += step;
    }
}

impl Clock for ShiftedClock {
    fn now(&self) -> DateTime<Utc> {
        SystemClock.now() + *self.offset.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
