//! What is said about the rounds of a measurement: median, smallest and largest.

use serde::{Deserialize, Serialize};

/// The values of the rounds, in their order, and what is said about them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
    pub values: Vec<f64>,
}

impl Spread {
    /// Sums up the values of rounds.
    pub fn of(values: &[f64]) -> Self {
        Self {
            median: share(values, 0.5),
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            values: values.to_vec(),
        }
    }
}

/// Returns the value that this share of the values is not above. Of an even number of values, the lower one of the two
/// in the middle is the median: it is one that was measured.
pub fn share(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let index = (sorted.len().max(1) - 1) as f64 * share;
    sorted.get(index as usize).copied().unwrap_or(f64::NAN)
}

/// Divides round by round: what was measured right after one another is compared, so that a machine that gets slower
/// during a run does not tilt the ratio.
pub fn ratios(dividends: &[f64], divisors: &[f64]) -> Vec<f64> {
    assert_eq!(dividends.len(), divisors.len(), "rounds come in pairs");
    dividends
        .iter()
        .zip(divisors)
        .map(|(one, other)| one / other)
        .collect()
}
