//! What the five applications need, row by row.

use crate::support::Behaviour;

pub fn tests() -> Vec<Behaviour> {
    Vec::new()
}
