//! `identity.v1.SessionService`: one module for each method, and one for each matter that methods share.

pub mod calls;
mod deletions;
mod get_session;
mod limits;
mod list_sessions;
mod locks;
mod many_sessions;
mod password_changes;
mod revoke_all_sessions;
mod revoke_session;
mod state_changes;

use crate::support::Behaviour;

pub fn tests() -> Vec<Behaviour> {
    [
        deletions::tests(),
        get_session::tests(),
        limits::tests(),
        list_sessions::tests(),
        locks::tests(),
        many_sessions::tests(),
        password_changes::tests(),
        revoke_all_sessions::tests(),
        revoke_session::tests(),
        state_changes::tests(),
    ]
    .concat()
}
