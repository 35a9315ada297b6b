//! The time, as a parameter: nothing else in the service asks the operating system for the date.
//!
//! Servers that share a database have to agree on the time, or what one of them has just issued has expired for
//! another. The database's clock counts: a server whose own is off by more than a second goes by the database's.

use std::fmt::Debug;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

/// Tells the time.
pub trait Clock: Debug + Send + Sync + 'static {
    /// Returns the present time in UTC, rounded down to the microseconds that both databases keep.
    fn now(&self) -> DateTime<Utc>;

    /// Returns what the clock of the machine says.
    fn machine_time(&self) -> DateTime<Utc> {
        self.now()
    }
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

/// A clock that goes by that of the database where the machine's is wrong.
#[derive(Debug)]
pub struct CorrectedClock {
    clock: Arc<dyn Clock>,
    correction_microseconds: AtomicI64,
}

impl CorrectedClock {
    /// Takes a clock that is right until the contrary is known.
    #[must_use]
    pub const fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            correction_microseconds: AtomicI64::new(0),
        }
    }

    /// Notes what time it is for the database. A difference of less than a second is how long the answer took to
    /// arrive, and correcting it would have the time jump about.
    pub fn correct(&self, database_time: DateTime<Utc>) {
        const TOLERANCE: TimeDelta = TimeDelta::seconds(1);
        let difference = database_time - self.clock.machine_time();
        if (difference - self.correction()).abs() > TOLERANCE {
            tracing::warn!(
                seconds = difference.num_seconds(),
                "the clock of this machine is not that of the database, which is gone by"
            );
            let microseconds = difference.num_microseconds().unwrap_or_default();
            self.correction_microseconds
                .store(microseconds, Ordering::Relaxed);
        }
    }

    fn correction(&self) -> TimeDelta {
        TimeDelta::microseconds(self.correction_microseconds.load(Ordering::Relaxed))
    }
}

impl Clock for CorrectedClock {
    fn now(&self) -> DateTime<Utc> {
        self.clock.now() + self.correction()
    }

    fn machine_time(&self) -> DateTime<Utc> {
        self.clock.machine_time()
    }
}

/// A clock for tests that need a day to pass, or a machine whose clock is wrong.
#[derive(Debug, Default)]
pub struct ShiftedClock {
    passed: Mutex<TimeDelta>,
    error: TimeDelta,
}

impl ShiftedClock {
    /// Makes the clock of a machine that is `error` ahead.
    #[must_use]
    pub fn of_wrong_machine(error: TimeDelta) -> Self {
        Self {
            passed: Mutex::default(),
            error,
        }
    }

    /// Has time pass, or go back.
    pub fn advance(&self, step: TimeDelta) {
        let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        *passed += step;
    }
}

impl Clock for ShiftedClock {
    fn now(&self) -> DateTime<Utc> {
        self.machine_time() + *self.passed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn machine_time(&self) -> DateTime<Utc> {
        SystemClock.now() + self.error
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chrono::TimeDelta;

    use super::{Clock, CorrectedClock, ShiftedClock, SystemClock};

    #[test]
    fn a_wrong_clock_is_corrected_and_a_right_one_left_alone() {
        for error in [-3600, -30, 0, 30, 86_400] {
            let wrong = Arc::new(ShiftedClock::of_wrong_machine(TimeDelta::seconds(error)));
            let clock = CorrectedClock::new(wrong);
            clock.correct(SystemClock.now());
            let difference = (clock.now() - SystemClock.now()).abs();
            assert!(difference < TimeDelta::seconds(2), "{error}: {difference}");
        }
    }

    #[test]
    fn time_that_a_test_lets_pass_is_not_an_error() {
        let shifted = Arc::new(ShiftedClock::default());
        shifted.advance(TimeDelta::days(1));
        let clock = CorrectedClock::new(shifted);
        clock.correct(SystemClock.now());
        assert!(clock.now() - SystemClock.now() > TimeDelta::hours(23));
    }
}
