//! `identity.v1.SecurityService`: one module for each method, and one for each matter that methods share.

pub mod calls;
mod list_login_attempts;
mod lockouts;

use crate::support::Behaviour;

pub fn tests() -> Vec<Behaviour> {
    [list_login_attempts::tests(), lockouts::tests()].concat()
}
