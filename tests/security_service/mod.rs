//! `identity.v1.SecurityService`: one module for each method, and one for each matter that methods share.

pub mod calls;
mod changing_calls;
mod event_actors;
mod event_commits;
mod event_of_each_change;
mod growth;
mod list_login_attempts;
mod list_user_events;
mod lockouts;
mod no_event;

use crate::support::Behaviour;

pub fn tests() -> Vec<Behaviour> {
    [
        event_actors::tests(),
        event_commits::tests(),
        event_of_each_change::tests(),
        growth::tests(),
        list_login_attempts::tests(),
        list_user_events::tests(),
        lockouts::tests(),
        no_event::tests(),
    ]
    .concat()
}
