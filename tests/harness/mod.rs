//! The support of the tests, where a mistake would let other tests pass for the wrong reason.

mod clusters;
mod databases;
mod failures;
mod processes;
mod proxies;

use crate::support::Behaviour;

pub fn tests() -> Vec<Behaviour> {
    [
        clusters::tests(),
        databases::tests(),
        failures::tests(),
        processes::tests(),
        proxies::tests(),
    ]
    .concat()
}
