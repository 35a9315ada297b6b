//! How many more hashes a core computes side by side than one by one with the `bcrypt` crate.
//!
//! `cargo bench -p bcrypt-lanes` lets the crate and batches of one to four hashes take turns, first on one thread and
//! then on as many as there are cores, and prints medians of the rounds (with the smallest and the largest) and what
//! they are of the crate's.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a failed expectation ends the bench, and its results go to the terminal"
)]

use std::hint::black_box;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use bcrypt_lanes::{Batch, Job, LANES};

/// Rounds of a few milliseconds each: some of them are not interrupted.
const ROUNDS: usize = 201;
/// As costly as makes the beginning and the end of a hash vanish.
const COST: u32 = 8;

fn main() {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    for threads in [1, cores] {
        println!("{threads} threads, cost {COST}: hashes per second and thread");
        let [reference, batches @ ..] = medians(threads);
        print("the bcrypt crate", reference, reference);
        for (hashes, batch) in (1..).zip(batches) {
            print(&format!("{hashes} side by side"), batch, reference);
        }
    }
}

fn print(name: &str, [least, median, most]: [f64; 3], [_, reference, _]: [f64; 3]) {
    let ratio = median / reference;
    println!("  {name:>18}: {median:7.1} ({least:.1} to {most:.1}), {ratio:.2} times the crate's");
}

/// Returns the rates of the crate and of each size of a batch: smallest, median and largest.
fn medians(threads: usize) -> [[f64; 3]; LANES + 1] {
    let barrier = Arc::new(Barrier::new(threads));
    let workers: Vec<_> = (0..threads)
        .map(|_| {
            let barrier = Arc::clone(&barrier);
            thread::spawn(move || rates(&barrier))
        })
        .collect();
    let mut all: [Vec<f64>; LANES + 1] = Default::default();
    for worker in workers {
        for (sum, rates) in all.iter_mut().zip(worker.join().expect("a worker")) {
            sum.extend(rates);
        }
    }
    all.map(|mut rates| {
        rates.sort_by(f64::total_cmp);
        [rates[0], rates[rates.len() / 2], rates[rates.len() - 1]]
    })
}

fn rates(barrier: &Barrier) -> [Vec<f64>; LANES + 1] {
    let mut rates: [Vec<f64>; LANES + 1] = Default::default();
    for _ in 0..ROUNDS {
        for (hashes, of_these) in rates.iter_mut().enumerate() {
            barrier.wait();
            let (took, count) = match u32::try_from(hashes).expect("few") {
                0 => (one_by_the_crate(), 1),
                count => (side_by_side(count), count),
            };
            of_these.push(f64::from(count) / took.as_secs_f64());
        }
    }
    rates
}

fn one_by_the_crate() -> Duration {
    let begin = Instant::now();
    black_box(bcrypt::bcrypt(COST, [3; 16], black_box(b"correct horse\0")));
    begin.elapsed()
}

fn side_by_side(count: u32) -> Duration {
    let mut batch = Batch::new();
    let begin = Instant::now();
    for _ in 0..count {
        let job = Job::new(COST, [3; 16], black_box(b"correct horse")).expect("cost");
        batch.join(&job, ()).expect("room");
    }
    while !batch.is_empty() {
        batch.advance(|(), digest| {
            black_box(digest);
        });
    }
    begin.elapsed()
}
