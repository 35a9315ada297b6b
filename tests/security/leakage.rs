//! Where secrets must not be.

use crate::support::Behaviour;

pub fn tests() -> Vec<Behaviour> {
    Vec::new()
}
