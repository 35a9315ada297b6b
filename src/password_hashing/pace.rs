//! How fast hashes are computed at present.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long a step of the cost loop takes while every lane is taken: a moving average, in nanoseconds.
#[derive(Debug)]
pub(super) struct Pace(AtomicU64);

impl Pace {
    /// Begins with a guess.
    pub(super) fn guess(step: Duration) -> Self {
        Self(AtomicU64::new(nanoseconds(step)))
    }

    /// Notes how long steps took. A sixteenth of each note counts, so that one hiccup does not.
    pub(super) fn note(&self, took: Duration, steps: u32) {
        const WEIGHT: u64 = 16;
        let one = nanoseconds(took) / u64::from(steps.max(1));
        let before = self.0.load(Ordering::Relaxed);
        self.0
            .store(before - before / WEIGHT + one / WEIGHT, Ordering::Relaxed);
    }

    /// Returns how long it takes until one more hash of a cost is done that has `ahead` before it, of which `at_once` are
    /// computed at the same time.
    pub(super) fn time_for(&self, cost: u32, ahead: usize, at_once: usize) -> Duration {
        let rounds = u32::try_from(ahead / at_once.max(1)).unwrap_or(u32::MAX);
        let steps = 1_u32.checked_shl(cost).unwrap_or(u32::MAX);
        let step = Duration::from_nanos(self.0.load(Ordering::Relaxed));
        step.saturating_mul(steps)
            .saturating_mul(rounds.saturating_add(1))
    }
}

fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
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
        for _ in 0..200 {
            pace.note(Duration::from_micros(400), 8);
        }
        let now = pace.time_for(0, 0, 1);
        assert!(
            now < Duration::from_micros(51) && now > Duration::from_micros(49),
            "{now:?}"
        );
    }
}
