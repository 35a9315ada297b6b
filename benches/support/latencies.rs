//! Latencies, in a histogram that keeps three digits of each, however many there are.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Three digits: a thousandth of each value.
const DIGITS: u8 = 3;

/// The percentiles that are written down: enough for a curve.
const CURVE: [f64; 12] = [
    1.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 98.0, 99.0, 99.5, 99.9, 100.0,
];

/// Latencies of calls.
#[derive(Debug, Clone)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        Self(Histogram::new(DIGITS).expect("a histogram"))
    }
}

impl Latencies {
    /// Adds one.
    pub fn record(&mut self, latency: Duration) {
        let nanoseconds = u64::try_from(latency.as_nanos()).expect("less than centuries");
        self.0.record(nanoseconds.max(1)).expect("the histogram grows");
    }

    /// Adds those of another caller or round.
    pub fn add(&mut self, others: &Self) {
        self.0.add(&others.0).expect("the histogram grows");
    }

    /// Returns how many there are.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Returns a percentile in milliseconds, or no number if there is none.
    pub fn percentile(&self, percentile: f64) -> f64 {
        if self.0.is_empty() {
            return f64::NAN;
        }
        milliseconds(self.0.value_at_percentile(percentile))
    }

    /// Returns how many took no longer than this.
    pub fn count_up_to(&self, milliseconds: f64) -> u64 {
        self.0.count_between(0, (milliseconds * 1e6) as u64)
    }

    /// Returns the longest in milliseconds, or no number if there is none.
    pub fn longest(&self) -> f64 {
        self.percentile(100.0)
    }

    /// Returns the percentiles that make a curve, each with its milliseconds.
    pub fn curve(&self) -> Vec<[f64; 2]> {
        if self.0.is_empty() {
            return Vec::new();
        }
        CURVE.map(|at| [at, self.percentile(at)]).to_vec()
    }
}

fn milliseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e6
}
