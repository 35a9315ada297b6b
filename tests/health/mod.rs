//! Health, as probes and people see it.

mod check;
mod http;
mod list;
mod liveness;
pub mod outage;
mod starting;
mod status;
mod watch;

use crate::support::Behaviour;

pub fn tests() -> Vec<Behaviour> {
    [
        check::tests(),
        http::tests(),
        list::tests(),
        liveness::tests(),
        starting::tests(),
        status::tests(),
        watch::tests(),
    ]
    .concat()
}

/// The names that follow the database.
const FOLLOWERS: [&str; 8] = [
    "",
    "identity.v1.AuthService",
    "identity.v1.CredentialService",
    "identity.v1.OAuthAccountService",
    "identity.v1.SecurityService",
    "identity.v1.SessionService",
    "identity.v1.StatusService",
    "identity.v1.UserService",
];

/// The name that follows the process alone.
const LIVENESS: &str = "liveness";
