//! `identity.v1.UserService`: one module for each method.

mod create_user;

use crate::support::Behaviour;

pub fn tests() -> Vec<Behaviour> {
    [create_user::tests()].concat()
}
