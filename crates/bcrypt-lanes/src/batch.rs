//! Hashes that are computed together.

use std::fmt;

use crate::blowfish::{Lane, iterate};
use crate::job::{Digest, Job, digest};

/// How many hashes a [`Batch`] computes at the same time.
///
/// Four fill what one leaves of a core: it computes 2.4 to 3.3 times as many hashes as it does one by one, and a fifth or
/// sixth lane adds a tenth at best, while each hash takes longer and the tables of two threads that share a core's
/// first cache no longer fit into it.
pub const LANES: usize = 4;

/// Hashes that are computed together on the thread that calls [`Batch::advance`]. Each has a lane; one may join
/// whenever a lane is free, and leaves when its steps are done, whatever the others' costs.
///
/// `T` is whatever the caller wants back with the digest.
pub struct Batch<T> {
    /// Those in use come first, in the order of `running`.
    lanes: Box<[Lane; LANES]>,
    running: Vec<Running<T>>,
}

#[derive(Debug)]
struct Running<T> {
    steps_left: u32,
    tag: T,
}

impl<T> Batch<T> {
    /// Makes a batch without hashes.
    #[must_use]
    pub fn new() -> Self {
        Self {
            lanes: Box::new([const { Lane::empty() }; LANES]),
            running: Vec::with_capacity(LANES),
        }
    }

    /// Tells how many hashes are being computed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.running.len()
    }

    /// Tells whether no hash is being computed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Tells whether every lane is taken.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.running.len() == LANES
    }

    /// Gives a hash a lane. The tag comes back if there is none free.
    pub fn join(&mut self, job: &Job, tag: T) -> Result<(), T> {
        let Some(lane) = self.lanes.get_mut(self.running.len()) else {
            return Err(tag);
        };
        job.begin(lane);
        self.running.push(Running {
            steps_left: job.steps(),
            tag,
        });
        Ok(())
    }

    /// Does one step of the cost loop for every hash, and calls `finished` with those that are done. A step of four
    /// hashes takes about a tenth of a millisecond.
    pub fn advance(&mut self, mut finished: impl FnMut(T, Digest)) {
        self.step();
        for running in &mut self.running {
            running.steps_left -= 1;
        }
        self.take_out(
            |running| running.steps_left == 0,
            |tag, lane| finished(tag, digest(lane)),
        );
    }

    /// Has hashes leave before they are done: those that `keep` says no of, which gets their tag and the steps that are left
    /// of them.
    pub fn retain(&mut self, mut keep: impl FnMut(&T, u32) -> bool) {
        self.take_out(|running| !keep(&running.tag, running.steps_left), |_, _| {});
    }

    fn step(&mut self) {
        match self.running.len() {
            0 => {}
            1 => self.step_first::<1>(),
            2 => self.step_first::<2>(),
            3 => self.step_first::<3>(),
            _ => self.step_first::<LANES>(),
        }
    }

    fn step_first<const COUNT: usize>(&mut self) {
        if let Some(lanes) = self.lanes.first_chunk_mut::<COUNT>() {
            iterate(lanes);
        }
    }

    /// Wipes the lanes of hashes that leave, and closes the gaps.
    fn take_out(&mut self, mut leaves: impl FnMut(&Running<T>) -> bool, mut with: impl FnMut(T, &Lane)) {
        for position in (0..self.running.len()).rev() {
            if !self.running.get(position).is_some_and(&mut leaves) {
                continue;
            }
            let last = self.running.len() - 1;
            let running = self.running.swap_remove(position);
            self.lanes.swap(position, last);
            if let Some(lane) = self.lanes.get_mut(last) {
                with(running.tag, lane);
                lane.wipe();
            }
        }
    }
}

impl<T> Default for Batch<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for Batch<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Batch")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Batch, LANES};
    use crate::Job;

    /// A hash, and at which step it wants to join.
    #[derive(Debug, Clone)]
    struct Arrival {
        step: u32,
        cost: u32,
        salt: [u8; 16],
        password: Vec<u8>,
        stays: bool,
    }

    fn arrival() -> impl Strategy<Value = Arrival> {
        let password = prop::collection::vec(1_u8.., 0..=72);
        (
            0..60_u32,
            4..=6_u32,
            any::<[u8; 16]>(),
            password,
            prop::bool::weighted(0.8),
        )
            .prop_map(|(step, cost, salt, password, stays)| Arrival {
                step,
                cost,
                salt,
                password,
                stays,
            })
    }

    fn reference(arrival: &Arrival) -> [u8; 23] {
        let mut terminated = arrival.password.clone();
        terminated.push(0);
        terminated.truncate(72);
        let long = bcrypt::bcrypt(arrival.cost, arrival.salt, &terminated);
        std::array::from_fn(|n| long[n])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn whoever_joins_whenever_gets_the_digest_of_the_reference(
            arrivals in prop::collection::vec(arrival(), 1..10),
        ) {
            let mut waiting: Vec<(usize, Arrival)> = arrivals.iter().cloned().enumerate().collect();
            let mut batch = Batch::new();
            let mut digests = vec![None; arrivals.len()];
            for step in 0.. {
                while let Some(next) = waiting.iter().position(|(_, waits)| waits.step <= step) {
                    if batch.is_full() {
                        break;
                    }
                    let (number, waits) = waiting.remove(next);
                    let job = Job::new(waits.cost, waits.salt, &waits.password).expect("cost");
                    batch.join(&job, number).expect("room");
                }
                prop_assert!(batch.len() <= LANES);
                batch.advance(|number, digest| digests[number] = Some(digest));
                // Those who do not stay leave at some time in between.
                if step % 7 == 3 {
                    batch.retain(|number, _| arrivals[*number].stays);
                }
                if waiting.is_empty() && batch.is_empty() {
                    break;
                }
            }
            for (arrival, digest) in arrivals.iter().zip(digests) {
                if arrival.stays {
                    prop_assert_eq!(digest, Some(reference(arrival)));
                }
            }
        }
    }

    #[test]
    fn a_full_batch_takes_nobody() {
        let job = || Job::new(4, [7; 16], b"password").expect("cost");
        let mut batch = Batch::new();
        for tag in 0..LANES {
            assert!(batch.join(&job(), tag).is_ok());
        }
        assert!(batch.is_full());
        assert_eq!(batch.join(&job(), 99), Err(99));
        assert_eq!(batch.len(), LANES);
    }

    #[test]
    fn a_lane_is_wiped_when_its_hash_leaves() {
        let mut batch = Batch::new();
        let job = Job::new(4, [7; 16], b"password").expect("cost");
        batch.join(&job, ()).expect("room");
        assert!(!batch.lanes[0].is_blank());
        batch.retain(|(), _| false);
        assert!(batch.is_empty());
        assert!(batch.lanes.iter().all(super::Lane::is_blank));
    }
}
