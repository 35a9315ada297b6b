//! `identity.v1.OAuthAccountService`: one module for each method, and one for each matter that methods share.

pub mod calls;
mod deletions;
mod last_credential;
mod link;
mod list;
mod unlink;

use crate::support::Behaviour;

pub fn tests() -> Vec<Behaviour> {
    [
        deletions::tests(),
        last_credential::tests(),
        link::tests(),
        list::tests(),
        unlink::tests(),
    ]
    .concat()
}
