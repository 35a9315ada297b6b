//! A hash that nobody's password has, for the work that is done where there is no hash.

use ring::rand::{SecureRandom, SystemRandom};

use super::modular_crypt::Parts;

/// Makes a hash of a cost whose salt and digest are random. Computing a real one would take a quarter of a second
/// of every start.
pub(super) fn hash(cost: u32) -> Parts {
    let mut decoy = Parts {
        cost,
        salt: Default::default(),
        digest: Default::default(),
    };
    // Without randomness it is merely the same decoy every time: the answer for it is no in any case.
    let random = SystemRandom::new();
    let _ = random
        .fill(&mut decoy.salt)
        .and_then(|()| random.fill(&mut decoy.digest));
    decoy
}
