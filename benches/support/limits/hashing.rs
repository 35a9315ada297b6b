//! `bcrypt::verify` of the crate, with nothing else running.

use std::time::{Duration, Instant};

use tokio::task::spawn_blocking;

use crate::support::people::PASSWORD;

/// How often per second this many threads verify a password, each one after the other.
pub async fn verifications_per_second(cost: u32, threads: usize, span: Duration) -> f64 {
    let hash = bcrypt::hash(PASSWORD, cost).expect("a hash");
    let begin = Instant::now();
    let workers: Vec<_> = (0..threads)
        .map(|_| {
            let hash = hash.clone();
            spawn_blocking(move || {
                let mut count = 0_usize;
                while begin.elapsed() < span {
                    assert!(bcrypt::verify(PASSWORD, &hash).expect("a verdict"));
                    count += 1;
                }
                // The last one ended after the span: what counts is the time it took.
                count as f64 / begin.elapsed().as_secs_f64()
            })
        })
        .collect();
    let mut rate = 0.0;
    for worker in workers {
        rate += worker.await.expect("a rate");
    }
    rate
}

/// How long one verification takes while nothing else runs.
pub async fn one_verification(cost: u32) -> Duration {
    let hash = bcrypt::hash(PASSWORD, cost).expect("a hash");
    let verified = spawn_blocking(move || {
        let begin = Instant::now();
        assert!(bcrypt::verify(PASSWORD, &hash).expect("a verdict"));
        begin.elapsed()
    });
    verified.await.expect("a time")
}
