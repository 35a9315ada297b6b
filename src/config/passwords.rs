//! Passwords: `IDENTITY_PASSWORD_MIN_LENGTH`, `IDENTITY_BCRYPT_COST`, `IDENTITY_HASHING_*`.

use super::variable::{Reader, Variable};
use crate::domain::PasswordPolicy;

const MIN_LENGTH: Variable = Variable::new(
    "IDENTITY_PASSWORD_MIN_LENGTH",
    "15",
    "The fewest characters of a new password, 8 to 64",
);
const BCRYPT_COST: Variable = Variable::new(
    "IDENTITY_BCRYPT_COST",
    "12",
    "The cost of a password hash, 4 to 31: one more doubles the work",
);
const HASHING_CONCURRENCY: Variable = Variable::new(
    "IDENTITY_HASHING_CONCURRENCY",
    "0",
    "How many passwords are hashed at the same time; 0 means one per core",
);
const HASHING_QUEUE: Variable = Variable::new(
    "IDENTITY_HASHING_QUEUE",
    "64",
    "How many passwords may wait to be hashed before further ones are refused",
);

pub(super) const VARIABLES: &[Variable] = &[MIN_LENGTH, BCRYPT_COST, HASHING_CONCURRENCY, HASHING_QUEUE];

/// Passwords and their hashing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordSettings {
    /// What a new password must be like.
    pub policy: PasswordPolicy,
    /// The cost of a hash.
    pub bcrypt_cost: u32,
    /// How many hashes are computed at the same time.
    pub hashing_concurrency: usize,
    /// How many hashes may wait.
    pub hashing_queue: usize,
}

impl PasswordSettings {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        /// A longer minimum would leave no room for characters of four bytes under bcrypt's 72 bytes.
        const LONGEST_MINIMUM: usize = 64;
        let min_characters = reader.number(&MIN_LENGTH, PasswordPolicy::FLOOR..=LONGEST_MINIMUM);
        let bcrypt_cost = reader.number(&BCRYPT_COST, 4..=31);
        let hashing_concurrency = reader.number(&HASHING_CONCURRENCY, 0..=1024);
        let hashing_queue = reader.number(&HASHING_QUEUE, 1..=100_000);
        Some(Self {
            policy: PasswordPolicy {
                min_characters: min_characters?,
            },
            bcrypt_cost: bcrypt_cost?,
            hashing_concurrency: match hashing_concurrency? {
                0 => std::thread::available_parallelism().map_or(1, Into::into),
                number => number,
            },
            hashing_queue: hashing_queue?,
        })
    }
}
