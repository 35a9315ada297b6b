//! `identity.v1.CredentialService`: one module for each method, and one for each matter that methods share.

pub mod calls;
mod change_password;
mod email_verification;
mod idempotency;
mod password_policy;
mod password_reset;
mod password_status;
mod remove_password;
mod set_password;
mod verify_password;

use crate::support::Behaviour;

pub fn tests() -> Vec<Behaviour> {
    [
        change_password::tests(),
        email_verification::tests(),
        idempotency::tests(),
        password_policy::tests(),
        password_reset::tests(),
        password_status::tests(),
        remove_password::tests(),
        set_password::tests(),
        verify_password::tests(),
    ]
    .concat()
}
