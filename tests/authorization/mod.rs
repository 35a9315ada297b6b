//! Who may call what.

mod admin_token;
mod certificates;
mod correlation;
mod matrix;
mod off;
mod own;
mod rate_limits;
mod service_tokens;

use crate::support::Behaviour;

pub fn tests() -> Vec<Behaviour> {
    [
        admin_token::tests(),
        certificates::tests(),
        correlation::tests(),
        matrix::tests(),
        off::tests(),
        own::tests(),
        rate_limits::tests(),
        service_tokens::tests(),
    ]
    .concat()
}
