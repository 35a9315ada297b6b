//! The command line and the settings.

mod config;
mod healthcheck;
mod help;
mod purge;
mod start;

use crate::support::Behaviour;

pub fn tests() -> Vec<Behaviour> {
    [
        config::tests(),
        healthcheck::tests(),
        help::tests(),
        purge::tests(),
        start::tests(),
    ]
    .concat()
}
