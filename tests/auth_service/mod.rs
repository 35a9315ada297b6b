//! `identity.v1.AuthService`: one module for each method, and one for each matter that methods share.

mod clocks;
mod equal_cost;
mod forged_claims;
mod forged_id_token_claims;
mod forged_id_tokens;
mod forged_tokens;
mod get_me;
mod id_token_accounts;
mod introspect_token;
mod key_rotation;
mod keys_at_rest;
mod list_signing_keys;
mod lockout;
mod lockout_networks;
mod lost_responses;
mod other_tokens;
mod overload;
mod provider_keys;
mod refresh_plans;
mod refresh_races;
mod refresh_tokens;
mod rehashing;
mod rotation;
mod session_expiry;
mod sign_in_with_id_token;
mod sign_in_with_password;
mod sign_out;
mod sign_up;

use crate::support::Behaviour;

/// How soon servers notice what another one did to the keys.
const PROMPT: (&str, &str) = ("IDENTITY_SIGNING_KEY_INTERVAL", "200ms");

pub fn tests() -> Vec<Behaviour> {
    [
        clocks::tests(),
        equal_cost::tests(),
        forged_claims::tests(),
        forged_id_token_claims::tests(),
        forged_id_tokens::tests(),
        forged_tokens::tests(),
        get_me::tests(),
        id_token_accounts::tests(),
        introspect_token::tests(),
        key_rotation::tests(),
        keys_at_rest::tests(),
        list_signing_keys::tests(),
        lockout::tests(),
        lockout_networks::tests(),
        lost_responses::tests(),
        other_tokens::tests(),
        overload::tests(),
        provider_keys::tests(),
        refresh_plans::tests(),
        refresh_races::tests(),
        refresh_tokens::tests(),
        rehashing::tests(),
        rotation::tests(),
        session_expiry::tests(),
        sign_in_with_id_token::tests(),
        sign_in_with_password::tests(),
        sign_out::tests(),
        sign_up::tests(),
    ]
    .concat()
}
