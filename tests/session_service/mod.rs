//! `identity.v1.SessionService`: one module for each method, and one for each matter that methods share.

mod get_session;
mod limits;
mod list_sessions;
mod revoke_all_sessions;
mod revoke_session;
mod state_changes;

use crate::support::Behaviour;

pub fn tests() -> Vec<Behaviour> {
    [
        get_session::tests(),
        limits::tests(),
        list_sessions::tests(),
        revoke_all_sessions::tests(),
        revoke_session::tests(),
        state_changes::tests(),
    ]
    .concat()
}
