//! The command line and the settings.

mod config;
mod healthcheck;
mod help;
mod import;
mod keys;
mod purge;
mod relocate;
mod start;

use crate::support::Behaviour;

pub fn tests() -> Vec<Behaviour> {
    [
        config::tests(),
        healthcheck::tests(),
        help::tests(),
        import::tests(),
        keys::tests(),
        purge::tests(),
        relocate::tests(),
        start::tests(),
    ]
    .concat()
}
