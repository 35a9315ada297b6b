//! Bad input and hostile callers.

mod leakage;
mod leakage_accounts;
mod leakage_flows;
mod malformed;
pub mod raw;
pub mod scan;
mod secrets;

use crate::support::Behaviour;

pub fn tests() -> Vec<Behaviour> {
    [leakage::tests(), malformed::tests()].concat()
}
