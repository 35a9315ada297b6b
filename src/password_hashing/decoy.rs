//! A hash that nobody's password has, for the work that is done where there is no hash.

use base64::Engine as _;
use base64::alphabet::BCRYPT;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};
use ring::rand::{SecureRandom, SystemRandom};

use crate::domain::PasswordHash;

/// The bytes of a salt, and of what bcrypt makes of a password.
const SALT_BYTES: usize = 16;
const DIGEST_BYTES: usize = 23;

/// Makes a hash of a cost whose salt and digest are random. Computing a real one would take a quarter of a second
/// of every start.
pub(super) fn hash(cost: u32) -> PasswordHash {
    let mut random = [0; SALT_BYTES + DIGEST_BYTES];
    // Without randomness it is merely the same decoy every time: the answer for it is no in any case.
    let _ = SystemRandom::new().fill(&mut random);
    let (salt, digest) = random.split_at(SALT_BYTES);
    let base64 = GeneralPurpose::new(&BCRYPT, NO_PAD);
    PasswordHash::new(format!(
        "$2b${cost:02}${}{}",
        base64.encode(salt),
        base64.encode(digest)
    ))
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_has_the_form_of_a_hash_and_takes_the_same_work() {
        let decoy = super::hash(4);
        assert_eq!(decoy.reveal().len(), 60);
        assert_eq!(decoy.cost(), Some(4));
        // A hash that could not be read would be refused before any work.
        assert!(!bcrypt::verify("anything", decoy.reveal()).expect("a hash"));
    }
}
