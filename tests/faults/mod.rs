//! Faults of the database and of the process.

use crate::support::Behaviour;

pub fn tests() -> Vec<Behaviour> {
    Vec::new()
}
