//! The command line and the settings.

use crate::support::Behaviour;

pub fn tests() -> Vec<Behaviour> {
    Vec::new()
}
