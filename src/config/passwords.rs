//! Passwords: `IDENTITY_PASSWORD_MIN_LENGTH`, `IDENTITY_BCRYPT_*`, `IDENTITY_HASHING_*`.

use super::variable::{Reader, Variable};
use crate::domain::PasswordPolicy;
use crate::password_hashing::{BcryptEngine, HashingSettings};

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
const BCRYPT_ENGINE: Variable = Variable::new(
    "IDENTITY_BCRYPT_ENGINE",
    "interleaved",
    "interleaved: each thread hashes up to four passwords side by side. reference: one by one, with the bcrypt crate",
);
const HASHING_THREADS: Variable = Variable::new(
    "IDENTITY_HASHING_THREADS",
    "0",
    "How many threads hash passwords; 0 means one per core",
);
const HASHING_QUEUE: Variable = Variable::new(
    "IDENTITY_HASHING_QUEUE",
    "64",
    "How many passwords may wait to be hashed before further ones are refused",
);

pub(super) const VARIABLES: &[Variable] = &[
    MIN_LENGTH,
    BCRYPT_COST,
    BCRYPT_ENGINE,
    HASHING_THREADS,
    HASHING_QUEUE,
];

/// Passwords and their hashing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordSettings {
    /// What a new password must be like.
    pub policy: PasswordPolicy,
    /// How they are hashed.
    pub hashing: HashingSettings,
}

impl PasswordSettings {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        /// A longer minimum would leave no room for characters of four bytes under bcrypt's 72 bytes.
        const LONGEST_MINIMUM: usize = 64;
        let min_characters = reader.number(&MIN_LENGTH, PasswordPolicy::FLOOR..=LONGEST_MINIMUM);
        let bcrypt_cost = reader.number(&BCRYPT_COST, 4..=31);
        let bcrypt_engine = reader.parse(&BCRYPT_ENGINE, bcrypt_engine);
        let hashing_threads = reader.number(&HASHING_THREADS, 0..=256);
        let hashing_queue = reader.number(&HASHING_QUEUE, 1..=100_000);
        Some(Self {
            policy: PasswordPolicy {
                min_characters: min_characters?,
            },
            hashing: HashingSettings {
                cost: bcrypt_cost?,
                engine: bcrypt_engine?,
                threads: match hashing_threads? {
                    0 => std::thread::available_parallelism().map_or(1, Into::into),
                    number => number,
                },
                capacity: hashing_queue?,
            },
        })
    }
}

fn bcrypt_engine(name: &str) -> Result<BcryptEngine, String> {
    BcryptEngine::ALL
        .into_iter()
        .find(|engine| engine.name() == name)
        .ok_or_else(|| "must be interleaved or reference".to_owned())
}
