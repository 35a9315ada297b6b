//! What the environment says about a run: how long it takes and on what it is made.
//!
//! | variable | what it sets |
//! |---|---|
//! | `IDENTITY_BENCH_ROUNDS` | rounds of each thing that is measured; odd, so that the median is one of them |
//! | `IDENTITY_BENCH_ROUND_SECONDS` | how long a round takes; each bench has a default that fits what it measures |
//! | `IDENTITY_BENCH_DATABASES` | `sqlite`, `postgres`, or both, separated by a comma |
//! | `IDENTITY_BENCH_PROGRAM` | another program to measure than the one that is built with the bench, such as an earlier one |
//!
//! Variables that concern one bench are described at its top.

use std::fmt::Debug;
use std::str::FromStr;
use std::time::Duration;

/// Fewer say too little on a machine that does other things as well.
const ROUNDS: usize = 5;

/// Returns how many rounds there are.
pub fn rounds() -> usize {
    number("IDENTITY_BENCH_ROUNDS", ROUNDS)
}

/// Returns how long a round takes.
pub fn round(default_seconds: f64) -> Duration {
    Duration::from_secs_f64(number("IDENTITY_BENCH_ROUND_SECONDS", default_seconds))
}

/// Says whether a database (`sqlite`, `postgres`) is measured.
pub fn is_wanted(database: &str) -> bool {
    std::env::var("IDENTITY_BENCH_DATABASES").map_or(true, |wanted| {
        wanted.split(',').any(|name| name.trim() == database)
    })
}

/// Reads a number that has a default.
pub fn number<T: FromStr<Err: Debug>>(variable: &str, default: T) -> T {
    std::env::var(variable).map_or(default, |text| text.parse().expect(variable))
}

/// Reads numbers that are separated by commas.
pub fn numbers<T: FromStr<Err: Debug>>(variable: &str, default: Vec<T>) -> Vec<T> {
    std::env::var(variable).map_or(default, |text| {
        let parts = text.split(',').map(str::trim);
        parts.map(|part| part.parse().expect(variable)).collect()
    })
}

/// Returns how many cores there are.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
