//! What one hash is made of.

use zeroize::Zeroize;

use crate::blowfish::{Lane, SUBKEYS, iterate};

/// The least and the most that a hash may cost: the base-2 logarithm of the steps of its loop.
pub const COSTS: std::ops::RangeInclusive<u32> = 4..=31;

/// The bytes of a password that count. What is longer is cut off there, as every bcrypt does.
pub const MAX_PASSWORD_BYTES: usize = 72;

/// The bytes of a digest.
pub const DIGEST_BYTES: usize = 23;

/// A salt.
pub type Salt = [u8; 16];

/// What bcrypt makes of a password. The 24th byte of the cipher text is not part of it, as everywhere.
pub type Digest = [u8; DIGEST_BYTES];

/// The cost is not one of [`COSTS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CostNotAllowed(pub u32);

impl std::fmt::Display for CostNotAllowed {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "the cost is {}, which is not one of {COSTS:?}", self.0)
    }
}

impl std::error::Error for CostNotAllowed {}

/// A hash that is to be computed: the `$2a$`, `$2b$` and `$2y$` of a password, which are the same. (`$2x$`, which
/// differs for bytes beyond ASCII, is not computed.)
///
/// It holds the password, is wiped when dropped, and shows nothing of it.
pub struct Job {
    pub(crate) cost: u32,
    key: [u32; SUBKEYS],
    salt: [u32; SUBKEYS],
}

impl Job {
    /// Prepares a hash. A NUL is added to the password as C's strings have one, where 72 bytes leave room for it; bytes
    /// beyond are ignored, and so a caller should refuse them.
    pub fn new(cost: u32, salt: Salt, password: &[u8]) -> Result<Self, CostNotAllowed> {
        if !COSTS.contains(&cost) {
            return Err(CostNotAllowed(cost));
        }
        let terminated = password.iter().copied().chain([0]).take(MAX_PASSWORD_BYTES);
        Ok(Self {
            cost,
            key: repeated(terminated),
            salt: repeated(salt.into_iter()),
        })
    }

    /// Computes the hash by itself.
    #[must_use]
    pub fn run(self) -> Digest {
        let mut lane = Lane::empty();
        self.begin(&mut lane);
        for _ in 0..self.steps() {
            iterate(std::array::from_mut(&mut lane));
        }
        digest(&lane)
    }

    /// The steps of the loop that the cost stands for.
    pub(crate) const fn steps(&self) -> u32 {
        1 << self.cost
    }

    /// Begins the hash on a lane.
    pub(crate) fn begin(&self, lane: &mut Lane) {
        lane.begin(&self.key, &self.salt);
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.key.zeroize();
        self.salt.zeroize();
    }
}

impl std::fmt::Debug for Job {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Job")
            .field("cost", &self.cost)
            .finish_non_exhaustive()
    }
}

/// Returns what a lane that has done all its steps holds: a text, encrypted 64 times over.
pub(crate) fn digest(lane: &Lane) -> Digest {
    const TEXT: &[u8; 24] = b"OrpheanBeholderScryDoubt";
    const TIMES: u32 = 64;
    let mut words = TEXT.chunks_exact(4).map(big_endian);
    let mut encrypted = Vec::with_capacity(TEXT.len());
    while let (Some(left), Some(right)) = (words.next(), words.next()) {
        let (left, right) = lane.encrypt_repeatedly((left, right), TIMES);
        encrypted.extend(left.to_be_bytes());
        encrypted.extend(right.to_be_bytes());
    }
    let mut digest = [0; DIGEST_BYTES];
    for (byte, from) in digest.iter_mut().zip(encrypted) {
        *byte = from;
    }
    digest
}

/// Fills the subkeys' length with bytes over and over.
fn repeated(bytes: impl Iterator<Item = u8> + Clone) -> [u32; SUBKEYS] {
    let mut endless = bytes.cycle();
    std::array::from_fn(|_| {
        let word: [u8; 4] = std::array::from_fn(|_| endless.next().unwrap_or_default());
        u32::from_be_bytes(word)
    })
}

fn big_endian(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |word, byte| word << 8 | u32::from(*byte))
}
