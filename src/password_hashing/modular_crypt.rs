//! Hashes as text: `$2b$`, the cost, and salt and digest in bcrypt's own base64, which is the Modular Crypt Format.

use base64::Engine as _;
use base64::alphabet::BCRYPT;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};
use bcrypt::HashParts;
use bcrypt_lanes::{DIGEST_BYTES, Digest, Salt};

use crate::domain::PasswordHash;

const BASE64: GeneralPurpose = GeneralPurpose::new(&BCRYPT, NO_PAD);

/// The characters of a digest, at the end of the text.
const DIGEST_CHARACTERS: usize = 31;

/// What a hash is made of.
#[derive(Clone, Copy)]
pub(super) struct Parts {
    pub(super) cost: u32,
    pub(super) salt: Salt,
    pub(super) digest: Digest,
}

impl Parts {
    /// Takes a hash apart.
    pub(super) fn parse(hash: &PasswordHash) -> Result<Self, bcrypt::BcryptError> {
        const MALFORMED: bcrypt::BcryptError =
            bcrypt::BcryptError::InvalidHash("the digest is malformed");
        let text = hash.reveal();
        let parts: HashParts = text.parse()?;
        let mut digest = [0; DIGEST_BYTES];
        let begin = text.len().saturating_sub(DIGEST_CHARACTERS);
        let encoded = text.as_bytes().get(begin..).ok_or(MALFORMED)?;
        let length = BASE64.decode_slice(encoded, &mut digest).map_err(|_| MALFORMED)?;
        if length != DIGEST_BYTES {
            return Err(MALFORMED);
        }
        Ok(Self {
            cost: parts.get_cost(),
            salt: parts.get_salt_raw(),
            digest,
        })
    }

    /// Returns the text.
    pub(super) fn format(&self) -> PasswordHash {
        let cost = self.cost;
        let salt = BASE64.encode(self.salt);
        let digest = BASE64.encode(self.digest);
        PasswordHash::new(format!("$2b${cost:02}${salt}{digest}"))
    }
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Parts")
            .field("cost", &self.cost)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::Parts;
    use crate::domain::PasswordHash;

    #[test]
    fn a_hash_is_the_same_after_it_was_taken_apart() {
        let text = bcrypt::hash("correct horse", 4).expect("a hash");
        let parts = Parts::parse(&PasswordHash::new(text.clone())).expect(&text);
        assert_eq!(parts.cost, 4);
        assert_eq!(parts.format().reveal(), text);
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        let good = bcrypt::hash("correct horse", 4).expect("a hash");
        let wrong_letter = format!(
            "{}!",
            good.trim_end_matches(|_: char| false).get(..59).expect("60")
        );
        for text in [
            "",
            "$2b$",
            "no hash at all",
            &wrong_letter,
            &good.replace("$2b$", "$1b$"),
        ] {
            assert!(
                Parts::parse(&PasswordHash::new(text.to_owned())).is_err(),
                "{text}"
            );
        }
    }
}
