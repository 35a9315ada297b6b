//! How fast hashes are computed at present.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long a step of the cost loop takes while every lane is taken: a moving average, in parts of a nanosecond.
#[derive(Debug)]
pub(super) struct Pace(AtomicU64);

/// The parts that a nanosecond has here, so that rounding does not add up.
const PARTS: u64 = 1024;

impl Pace {
    /// Begins with a guess.
    pub(super) fn guess(step: Duration) -> Self {
        Self(AtomicU64::new(parts(step)))
    }

    /// Notes how long steps took. The average is that of the last eight thousand or so, which take about a second: a step
    /// in which the machine did something else counts as what it was.
    pub(super) fn note(&self, took: Duration, steps: u32) {
        const WINDOW: u64 = 8192;
        /// However many steps are noted at once, this part of the average stays.
        const MOST: u64 = WINDOW / 4;
        let steps = u64::from(steps.max(1));
        let weight = steps.min(MOST);
        let one = parts(took) / steps;
        let before = self.0.load(Ordering::Relaxed);
        let after = (before / WINDOW).saturating_mul(WINDOW - weight)
            + (one / WINDOW).saturating_mul(weight)
            + (before % WINDOW * (WINDOW - weight) + one % WINDOW * weight) / WINDOW;
        self.0.store(after, Ordering::Relaxed);
    }

    /// Returns how long it takes until one more hash of a cost is done that has `ahead` before it, of which `at_once` are
    /// computed at the same time.
    pub(super) fn time_for(&self, cost: u32, ahead: usize, at_once: usize) -> Duration {
        let rounds = u32::try_from(ahead / at_once.max(1)).unwrap_or(u32::MAX);
        let steps = 1_u32.checked_shl(cost).unwrap_or(u32::MAX);
        let step = Duration::from_nanos(self.0.load(Ordering::Relaxed) / PARTS);
        step.saturating_mul(steps)
            .saturating_mul(rounds.saturating_add(1))
    }
}

fn parts(span: Duration) -> u64 {
    u64::try_from(span.as_nanos())
        .unwrap_or(u64::MAX)
        .saturating_mul(PARTS)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Pace;

    #[test]
    fn whoever_comes_later_waits_for_all_before() {
        let pace = Pace::guess(Duration::from_micros(100));
        let one = Duration::from_micros(100 * 16);
        assert_eq!(pace.time_for(4, 0, 8), one);
        assert_eq!(pace.time_for(4, 7, 8), one);
        assert_eq!(pace.time_for(4, 8, 8), 2 * one);
        assert_eq!(pace.time_for(5, 24, 8), 8 * one);
        assert_eq!(pace.time_for(31, usize::MAX, 1), pace.time_for(31, usize::MAX, 1));
    }

    #[test]
    fn it_follows_what_it_notes() {
        let pace = Pace::guess(Duration::from_micros(100));
        for _ in 0..100_000 {
            pace.note(Duration::from_micros(50), 1);
        }
        let near = |time: Duration, to: Duration| time.abs_diff(to) < Duration::from_nanos(100);
        assert!(near(pace.time_for(0, 0, 1), Duration::from_micros(50)));
        for _ in 0..100 {
            pace.note(Duration::from_micros(4096 * 80), 4096);
        }
        assert!(near(pace.time_for(0, 0, 1), Duration::from_micros(80)));
    }

    #[test]
    fn a_step_that_was_interrupted_changes_little() {
        let pace = Pace::guess(Duration::from_micros(100));
        pace.note(Duration::from_millis(50), 1);
        let now = pace.time_for(0, 0, 1);
        assert!(now < Duration::from_micros(107), "{now:?}");
    }
}
