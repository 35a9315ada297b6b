//! Bad input and hostile callers.

use crate::support::Behaviour;

pub fn tests() -> Vec<Behaviour> {
    Vec::new()
}
