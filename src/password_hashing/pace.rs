//! How fast hashes are computed at present.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a step of the cost loop takes while every lane is taken, whatever else the machine does.
#[derive(Debug)]
pub(super) struct Pace(Mutex<Recent>);

/// The steps of the last moments and how long they took; what is older counts less.
#[derive(Debug)]
struct Recent {
    steps: f64,
    seconds: f64,
}

impl Pace {
    /// After so many seconds something counts for about a third.
    const MEMORY: f64 = 1.0;

    /// Begins with a guess.
    pub(super) const fn guess(step: Duration) -> Self {
        Self(Mutex::new(Recent {
            steps: Self::MEMORY / step.as_secs_f64(),
            seconds: Self::MEMORY,
        }))
    }

    /// Notes how long steps took, from the end of the one before: the time counts in which others were let go first.
    pub(super) fn note(&self, took: Duration, steps: u32) {
        let seconds = took.as_secs_f64();
        let kept = (-seconds / Self::MEMORY).exp();
        let mut recent = self.lock();
        recent.steps = recent.steps.mul_add(kept, f64::from(steps));
        recent.seconds = recent.seconds.mul_add(kept, seconds);
    }

    /// Returns how long one step takes.
    pub(super) fn step(&self) -> Duration {
        let recent = self.lock();
        Duration::try_from_secs_f64(recent.seconds / recent.steps).unwrap_or(Duration::MAX)
    }

    /// Returns how long it takes until one more hash of a cost is done that has `ahead` before it, of which `at_once` are
    /// computed at the same time.
    pub(super) fn time_for(&self, cost: u32, ahead: usize, at_once: usize) -> Duration {
        let rounds = u32::try_from(ahead / at_once.max(1)).unwrap_or(u32::MAX);
        let steps = 1_u32.checked_shl(cost).unwrap_or(u32::MAX);
        self.step()
            .saturating_mul(steps)
            .saturating_mul(rounds.saturating_add(1))
    }

    fn lock(&self) -> MutexGuard<'_, Recent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Pace;

    #[test]
    fn whoever_comes_later_waits_for_all_before() {
        let pace = Pace::guess(Duration::from_micros(100));
        let one = Duration::from_micros(100 * 16);
        let near = |time: Duration, to: Duration| time.abs_diff(to) < Duration::from_micros(1);
        assert!(near(pace.time_for(4, 0, 8), one));
        assert!(near(pace.time_for(4, 7, 8), one));
        assert!(near(pace.time_for(4, 8, 8), 2 * one));
        assert!(near(pace.time_for(5, 24, 8), 8 * one));
        assert_eq!(pace.time_for(31, usize::MAX, 1), pace.time_for(31, usize::MAX, 1));
    }

    #[test]
    fn it_follows_what_it_notes() {
        let pace = Pace::guess(Duration::from_micros(100));
        for _ in 0..200_000 {
            pace.note(Duration::from_micros(50), 1);
        }
        let near = |time: Duration, to: Duration| time.abs_diff(to) < Duration::from_nanos(100);
        assert!(near(pace.time_for(0, 0, 1), Duration::from_micros(50)));
        for _ in 0..100 {
            pace.note(Duration::from_micros(4096 * 80), 4096);
        }
        assert!(near(pace.time_for(0, 0, 1), Duration::from_micros(80)));
        // Slow steps are noticed as soon as quick ones, though there are fewer of them.
        for _ in 0..500 {
            pace.note(Duration::from_millis(10), 1);
        }
        assert!(pace.time_for(0, 0, 1) > Duration::from_millis(5));
    }

    #[test]
    fn a_step_that_was_interrupted_changes_little() {
        let pace = Pace::guess(Duration::from_micros(100));
        pace.note(Duration::from_millis(50), 1);
        let now = pace.time_for(0, 0, 1);
        assert!(now < Duration::from_micros(107), "{now:?}");
    }
}
