//! `identity.v1.AuthService`: one module for each method, and one for each matter that methods share.

mod equal_cost;
mod forged_tokens;
mod get_me;
mod introspect_token;
mod key_rotation;
mod list_signing_keys;
mod lockout;
mod lockout_networks;
mod overload;
mod refresh_races;
mod refresh_tokens;
mod rehashing;
mod sign_in_with_password;
mod sign_out;
mod sign_up;

use crate::support::Behaviour;

pub fn tests() -> Vec<Behaviour> {
    [
        equal_cost::tests(),
        forged_tokens::tests(),
        get_me::tests(),
        introspect_token::tests(),
        key_rotation::tests(),
        list_signing_keys::tests(),
        lockout::tests(),
        lockout_networks::tests(),
        overload::tests(),
        refresh_races::tests(),
        refresh_tokens::tests(),
        rehashing::tests(),
        sign_in_with_password::tests(),
        sign_out::tests(),
        sign_up::tests(),
    ]
    .concat()
}
