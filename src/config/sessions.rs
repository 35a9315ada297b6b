//! Sessions: `IDENTITY_SIGN_UP`, `IDENTITY_SESSION_*`, `IDENTITY_MAX_SESSIONS_PER_USER`.

use std::time::Duration;

use super::variable::{Reader, Variable, to_span};
use crate::domain::SessionPolicy;

const SIGN_UP: Variable = Variable::new(
    "IDENTITY_SIGN_UP",
    "off",
    "Whether people can sign up by themselves (on or off); it tells strangers which emails are taken",
);
const LIFETIME: Variable = Variable::new(
    "IDENTITY_SESSION_LIFETIME",
    "30d",
    "How long a session lives, however often it is refreshed",
);
const IDLE_LIFETIME: Variable = Variable::new(
    "IDENTITY_SESSION_IDLE_LIFETIME",
    "14d",
    "How long a session lives that is not refreshed",
);
const MAX_PER_USER: Variable = Variable::new(
    "IDENTITY_MAX_SESSIONS_PER_USER",
    "100",
    "The most sessions of one user; beyond, the one that has gone unused longest ends",
);

pub(super) const VARIABLES: &[Variable] = &[SIGN_UP, LIFETIME, IDLE_LIFETIME, MAX_PER_USER];

/// Sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionSettings {
    /// Whether people can sign up by themselves.
    pub sign_up: bool,
    /// How long sessions live.
    pub policy: SessionPolicy,
}

impl SessionSettings {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        /// Ten years: whoever wants sessions without end gets as near to it as makes no difference.
        const LONGEST: Duration = Duration::from_secs(3653 * 24 * 3600);
        let sign_up = reader.switch(&SIGN_UP);
        let lifetime = reader.duration(&LIFETIME, Duration::from_secs(1)..=LONGEST);
        let idle_lifetime = reader.duration(&IDLE_LIFETIME, Duration::from_secs(1)..=LONGEST);
        let max_per_user = reader.number(&MAX_PER_USER, 1..=1_000_000);
        Some(Self {
            sign_up: sign_up?,
            policy: SessionPolicy {
                lifetime: to_span(lifetime?),
                idle_lifetime: to_span(idle_lifetime?),
                max_per_user: max_per_user?,
            },
        })
    }
}
