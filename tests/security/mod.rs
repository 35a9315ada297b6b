//! Bad input and hostile callers.

mod leakage;
mod malformed;
pub mod raw;

use crate::support::Behaviour;

pub fn tests() -> Vec<Behaviour> {
    [leakage::tests(), malformed::tests()].concat()
}
