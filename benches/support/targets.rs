//! What the service is to reach: the least that is acceptable, and the goal.

use serde::{Deserialize, Serialize};

use super::statistics::Spread;

/// The bound and the goal of a figure.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Target {
    /// Whether larger is better; smaller is otherwise.
    pub is_floor: bool,
    pub bound: f64,
    pub goal: Option<f64>,
    /// Whether each round has to reach it; it is the median otherwise.
    pub in_every_round: bool,
}

/// The figure is to be at least this.
pub const fn at_least(bound: f64, goal: f64) -> Target {
    Target {
        is_floor: true,
        bound,
        goal: Some(goal),
        in_every_round: false,
    }
}

/// The figure is to be at most this.
pub const fn at_most(bound: f64, goal: f64) -> Target {
    Target {
        is_floor: false,
        bound,
        goal: Some(goal),
        in_every_round: false,
    }
}

/// The figure is to be 1: all of them.
pub const ALL: Target = Target {
    is_floor: true,
    bound: 1.0,
    goal: None,
    in_every_round: true,
};

/// Milliseconds in which refusals are to be answered.
pub const REFUSALS_MILLISECONDS: Target = Target {
    is_floor: false,
    bound: 10.0,
    goal: None,
    in_every_round: false,
};

pub const SIGN_INS_TO_BCRYPT: Target = at_least(1.8, 2.2);
pub const ONE_SIGN_IN_TO_BCRYPT: Target = at_most(1.05, 0.95);
pub const STORM_READ_P99: Target = at_most(10.0, 3.0);
pub const STORM_READ_RATE: Target = at_least(0.7, 0.9);
pub const GET_USER_TO_NO_OP_EMBEDDED: Target = at_least(0.65, 0.8);
pub const GET_USER_TO_NO_OP_POSTGRES: Target = at_least(0.42, 0.6);
pub const GET_ME_TO_GET_USER: Target = at_least(0.7, 0.9);
pub const INTROSPECTION_TO_NO_OP: Target = at_least(0.4, 0.5);
pub const REFRESH_TO_COMMITS: Target = at_least(0.5, 0.7);
pub const GROWTH: Target = at_least(0.85, 0.95);
pub const TAIL: Target = at_most(2.0, 1.6);
pub const PEER_SIGN_INS: Target = at_least(1.6, 2.0);
pub const PEER_WHO_AM_I: Target = at_least(15.0, 25.0);
pub const PEER_STORM_P99: Target = at_most(1.0 / 20.0, 1.0 / 100.0);
pub const PEER_MEMORY: Target = at_most(1.0 / 6.0, 1.0 / 10.0);
pub const PEER_START: Target = at_most(1.0 / 6.0, 1.0 / 10.0);
pub const IDLE_MEBIBYTES: Target = at_most(20.0, 12.0);
pub const LOADED_MEBIBYTES: Target = at_most(40.0, 24.0);
pub const START_MILLISECONDS: Target = at_most(100.0, 30.0);

impl Target {
    /// Says what was reached.
    pub fn verdict(&self, spread: &Spread) -> &'static str {
        let value = match (self.in_every_round, self.is_floor) {
            (false, _) => spread.median,
            (true, true) => spread.min,
            (true, false) => spread.max,
        };
        let reaches = |limit: f64| {
            if self.is_floor {
                value >= limit
            } else {
                value <= limit
            }
        };
        match self.goal {
            Some(goal) if reaches(goal) => "goal",
            _ if reaches(self.bound) => "bound",
            _ => "missed",
        }
    }
}
