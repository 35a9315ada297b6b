//! When a thread that hashes lets others go first.
//!
//! Whoever reads wants a core for a fraction of a millisecond, and at once; the operating system gives it to them when
//! the slice of whoever has it ends, which is milliseconds later. So a thread that hashes offers its core after every
//! step, a tenth of a millisecond: if somebody waits for one, they have it, and if nobody does, the offer costs next to
//! nothing. That alone would leave nothing for hashing on a machine that others fill; a thread that has had less than
//! its share of the recent time keeps what it has, and the operating system is as fair to it as to everybody. So does one
//! that computes a hash which would come too late otherwise: whoever waits for it was told that there is time, when the
//! machine had less to do.
//!
//! An offer is heard in the thread's own group of processes only (control group, or session): Linux shares cores among
//! groups first, and beside a thread that never stops it has let those of other groups wait for a tenth of a second. A
//! database server is in a group of its own. So, while it works for this process, a thread sleeps every millisecond,
//! whatever it is entitled to: a call waits for that work, perhaps the one that the hash is for. It sleeps for longer
//! than a look-up takes; a thread that is back sooner may take the core from a server that is in the middle of one,
//! for another millisecond. One with a hash that may come too late sleeps less often, because it may get its core back only
//! when a slice of others ends.

use std::fmt;
use std::time::{Duration, Instant};

/// The part of a core that a thread of hashing is entitled to while others want it: an eighth.
const SHARE: u32 = 8;
/// How much of what a thread had too much or too little is remembered.
const MEMORY: Duration = Duration::from_millis(20);

/// How long a thread does not sleep while another process works for this one.
const AWAKE: Duration = Duration::from_millis(1);
/// The same, with a hash that may come too late.
const AWAKE_IF_URGENT: Duration = Duration::from_millis(4);
/// How long a thread sleeps; Linux adds some 80 microseconds.
pub(super) const NAP: Duration = Duration::from_micros(200);

/// What a thread does after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// It goes on.
    Run,
    /// It lets others of its group go first, if there are any.
    Yield,
    /// It stops for a `NAP`, which others use whoever they are.
    Sleep,
}

/// Tells whether another process works for this one at the moment.
pub(super) struct WorkElsewhere(Box<dyn Fn() -> bool + Send + Sync>);

impl WorkElsewhere {
    /// Asks a function, which has to be quick: it is called after every step.
    pub(super) fn told_by(is_under_way: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Box::new(is_under_way))
    }

    fn is_under_way(&self) -> bool {
        (self.0)()
    }
}

impl fmt::Debug for WorkElsewhere {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("WorkElsewhere")
            .field(&self.is_under_way())
            .finish()
    }
}

/// What a thread has had of its share.
#[derive(Debug)]
pub(super) struct Courtesy {
    /// How much more than its share it has had, `MEMORY` being none.
    had: Duration,
    since: Instant,
    /// When it slept last.
    slept: Instant,
    /// The quickest step of late, by the hashes that it was for: what a step takes without interruption.
    quickest: [Duration; bcrypt_lanes::LANES],
}

impl Courtesy {
    /// Begins with nothing owed.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            had: MEMORY,
            since: now,
            slept: now,
            quickest: [Duration::MAX; bcrypt_lanes::LANES],
        }
    }

    /// Forgets the time that nothing was to be done.
    pub(super) fn resume(&mut self, now: Instant) {
        self.since = now;
    }

    /// Returns what a step takes that nobody interrupts.
    pub(super) fn quickest(&self, hashes: usize) -> Duration {
        let quickest = self.quickest.get(hashes.saturating_sub(1));
        quickest.copied().unwrap_or(Duration::MAX)
    }

    /// Notes a step for a number of hashes that began and ended at these times. Returns what is due to others now; less
    /// if one of the hashes may come too late.
    pub(super) fn after_step(
        &mut self,
        hashes: usize,
        begin: Instant,
        end: Instant,
        is_urgent: bool,
        elsewhere: &WorkElsewhere,
    ) -> Next {
        let took = end - begin;
        let uninterrupted = match self.quickest.get_mut(hashes.saturating_sub(1)) {
            Some(quickest) => {
                // It grows a little each time, for cores that become slower.
                let grown = quickest.saturating_add(*quickest / 1024);
                *quickest = grown.min(took);
                *quickest
            }
            None => took,
        };
        let due = (end - self.since) / SHARE;
        self.since = end;
        self.had = (self.had + uninterrupted).saturating_sub(due).min(2 * MEMORY);
        let awake = if is_urgent { AWAKE_IF_URGENT } else { AWAKE };
        if end - self.slept >= awake && elsewhere.is_under_way() {
            self.slept = end;
            Next::Sleep
        } else if self.had >= MEMORY && !is_urgent {
            Next::Yield
        } else {
            Next::Run
        }
    }
}

/// Tells whether a hash may be done too late at the usual pace, or half as much again, and could still be in time at the quickest.
pub(super) fn is_at_risk(
    steps_left: u32,
    time_left: Duration,
    usual: Duration,
    quickest: Duration,
) -> bool {
    let expected = usual.saturating_mul(steps_left);
    expected.saturating_add(expected / 2) > time_left && quickest.saturating_mul(steps_left) <= time_left
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Courtesy, Next, WorkElsewhere, is_at_risk};

    const STEP: Duration = Duration::from_micros(100);

    /// Takes steps that begin a while after each other, and returns after how many of them this was next.
    fn count(
        next: Next,
        courtesy: &mut Courtesy,
        from: &mut Instant,
        (steps, every): (u32, Duration),
        (is_urgent, is_work_elsewhere): (bool, bool),
    ) -> u32 {
        let elsewhere = WorkElsewhere::told_by(move || is_work_elsewhere);
        let counted = (0..steps).filter(|_| {
            let begin = *from + (every - STEP);
            *from += every;
            courtesy.after_step(4, begin, *from, is_urgent, &elsewhere) == next
        });
        u32::try_from(counted.count()).expect("few")
    }

    /// Takes steps while no other process works for this one, and returns how many of them others could go first after.
    fn offers(courtesy: &mut Courtesy, from: &mut Instant, steps: u32, every: Duration) -> u32 {
        count(Next::Yield, courtesy, from, (steps, every), (false, false))
    }

    #[test]
    fn a_thread_that_nobody_disturbs_offers_its_core_after_every_step() {
        let mut now = Instant::now();
        let mut courtesy = Courtesy::new(now);
        assert_eq!(offers(&mut courtesy, &mut now, 1000, STEP), 1000);
    }

    #[test]
    fn a_thread_that_has_half_of_a_core_goes_on_offering_it() {
        let mut now = Instant::now();
        let mut courtesy = Courtesy::new(now);
        assert_eq!(offers(&mut courtesy, &mut now, 1000, 2 * STEP), 1000);
    }

    #[test]
    fn a_thread_that_has_had_too_little_keeps_its_core_until_it_has_caught_up() {
        let mut now = Instant::now();
        let mut courtesy = Courtesy::new(now);
        offers(&mut courtesy, &mut now, 100, STEP);
        // A tenth of a core is less than its share; what it had before is soon used up.
        offers(&mut courtesy, &mut now, 1000, 10 * STEP);
        assert_eq!(offers(&mut courtesy, &mut now, 100, 10 * STEP), 0);
        // It catches up as soon as it has the core, and not more than what is remembered.
        let kept = 1000 - offers(&mut courtesy, &mut now, 1000, STEP);
        assert!((1..=270).contains(&kept), "{kept}");
    }

    #[test]
    fn a_thread_sleeps_every_millisecond_while_another_process_works() {
        let mut now = Instant::now();
        let mut courtesy = Courtesy::new(now);
        let mut sleeps = |steps, every, is_work_elsewhere| {
            let steps = (steps, every);
            let circumstances = (false, is_work_elsewhere);
            count(Next::Sleep, &mut courtesy, &mut now, steps, circumstances)
        };
        assert_eq!(sleeps(1000, STEP, true), 100);
        // Also by a thread that has less than its share.
        assert_eq!(sleeps(1000, 10 * STEP, true), 1000);
        assert_eq!(sleeps(1000, STEP, false), 0);
        // When there is work elsewhere again, at once, and once.
        assert_eq!(sleeps(1, STEP, true), 1);
        assert_eq!(sleeps(9, STEP, true), 0);
    }

    #[test]
    fn a_thread_with_an_urgent_hash_sleeps_less_often_and_yields_to_nobody() {
        let mut now = Instant::now();
        let mut courtesy = Courtesy::new(now);
        let mut after = |next| count(next, &mut courtesy, &mut now, (1000, STEP), (true, true));
        assert_eq!(after(Next::Sleep), 25);
        assert_eq!(after(Next::Yield), 0);
    }

    #[test]
    fn a_hash_is_at_risk_that_may_come_too_late_and_can_still_be_in_time() {
        let milliseconds = Duration::from_millis;
        let at_risk = |time_left| is_at_risk(1000, time_left, milliseconds(4), milliseconds(1));
        assert!(!at_risk(milliseconds(6000)));
        assert!(at_risk(milliseconds(5999)));
        assert!(at_risk(milliseconds(1000)));
        assert!(!at_risk(milliseconds(999)));
        assert!(!is_at_risk(1000, Duration::ZERO, Duration::MAX, Duration::MAX));
    }

    #[test]
    fn time_without_work_is_owed_to_nobody() {
        let mut now = Instant::now();
        let mut courtesy = Courtesy::new(now);
        now += Duration::from_secs(60);
        courtesy.resume(now);
        assert_eq!(offers(&mut courtesy, &mut now, 10, STEP), 10);
    }
}
