//! What verifying a hash may cost, and which hashes can be verified at all.
//!
//! Whoever comes with a hash that nothing computes could never sign in, and would hear of it only then.

use std::ops::RangeInclusive;

use super::{HashParts, Scheme};
use crate::domain::Invalid;

/// A hash shorter than this could be found by chance; nothing computes one longer than the other.
const HASH_BYTES: RangeInclusive<usize> = 16..=128;

/// No system uses longer salts.
const MAX_SALT_BYTES: usize = 128;

/// Of memory, for one hash: several may be verified at the same time.
const MAX_MEMORY_KIBIBYTES: u64 = 128 * 1024;

/// Of memory, written over and over: what a core does in about a second.
const MAX_WORK_KIBIBYTES: u64 = 1024 * 1024;

/// Twice what is recommended today, about a second.
const MAX_ITERATIONS: u64 = 2_000_000;

/// Lanes of Argon2, and the parallelism of scrypt.
const MAX_LANES: u64 = 16;

impl HashParts {
    /// Refuses what would cost too much to verify, what cannot be computed, and what is no hash.
    pub(super) fn check(self) -> Result<Self, Invalid> {
        require(
            HASH_BYTES.contains(&self.hash.len()),
            "must be a hash of 16 to 128 bytes",
        )?;
        check_salt(&self.salt)?;
        match &self.scheme {
            Scheme::Argon2 {
                memory_kibibytes,
                passes,
                lanes,
                ..
            } => check_argon2(
                &self.salt,
                (*memory_kibibytes).into(),
                (*passes).into(),
                (*lanes).into(),
            )?,
            Scheme::Scrypt {
                log_n,
                block_size,
                parallelism,
            } => check_scrypt(*log_n, (*block_size).into(), (*parallelism).into())?,
            Scheme::Pbkdf2 { iterations, .. } => {
                require(*iterations > 0, "must have iterations")?;
                at_most((*iterations).into(), MAX_ITERATIONS, "iterations")?;
            }
            Scheme::FirebaseScrypt {
                log_n,
                block_size,
                salt_separator,
                signer_key,
            } => {
                check_scrypt(*log_n, (*block_size).into(), 1)?;
                check_salt(salt_separator)?;
                require(
                    signer_key.len() == self.hash.len(),
                    "must be as long as the signer key",
                )?;
            }
        }
        Ok(self)
    }
}

fn check_salt(salt: &[u8]) -> Result<(), Invalid> {
    if salt.len() > MAX_SALT_BYTES {
        return Err(Invalid::too_long(MAX_SALT_BYTES, "bytes of salt"));
    }
    Ok(())
}

/// RFC 9106, section 3.1.
fn check_argon2(salt: &[u8], memory_kibibytes: u64, passes: u64, lanes: u64) -> Result<(), Invalid> {
    const MIN_SALT_BYTES: usize = 8;
    const MIN_KIBIBYTES_PER_LANE: u64 = 8;
    at_most(memory_kibibytes, MAX_MEMORY_KIBIBYTES, "KiB of memory")?;
    at_most(lanes, MAX_LANES, "lanes")?;
    let work = memory_kibibytes.saturating_mul(passes);
    at_most(work, MAX_WORK_KIBIBYTES, "KiB of memory in all passes")?;
    require(
        salt.len() >= MIN_SALT_BYTES,
        "must have a salt of at least 8 bytes",
    )?;
    require(passes > 0 && lanes > 0, "must have passes and lanes")?;
    require(
        memory_kibibytes >= MIN_KIBIBYTES_PER_LANE * lanes,
        "must have at least 8 KiB of memory for each lane",
    )
}

/// RFC 7914, section 6. What it says of N beside the block size is an error in it (erratum 5971).
fn check_scrypt(log_n: u8, block_size: u64, parallelism: u64) -> Result<(), Invalid> {
    const MAX_LOG_N: u8 = 20;
    const MAX_BLOCK_SIZE: u64 = 64;
    /// Of memory, for each unit of N and of the block size.
    const BYTES: u64 = 128;
    const BYTES_PER_KIBIBYTE: u64 = 1024;
    at_most(log_n.into(), MAX_LOG_N.into(), "as the exponent of N")?;
    at_most(block_size, MAX_BLOCK_SIZE, "as the block size")?;
    at_most(parallelism, MAX_LANES, "as the parallelism")?;
    let memory = ((BYTES * block_size) << log_n) / BYTES_PER_KIBIBYTE;
    at_most(memory, MAX_MEMORY_KIBIBYTES, "KiB of memory")?;
    at_most(memory * parallelism, MAX_WORK_KIBIBYTES, "KiB of memory in all")?;
    require(log_n > 0, "must have an N of at least 2")?;
    require(
        block_size > 0 && parallelism > 0,
        "must have a block size and a parallelism",
    )
}

fn at_most(value: u64, limit: u64, unit: &str) -> Result<(), Invalid> {
    if value <= limit {
        return Ok(());
    }
    Err(Invalid::too_long(
        usize::try_from(limit).unwrap_or(usize::MAX),
        unit,
    ))
}

fn require(is_so: bool, text: &str) -> Result<(), Invalid> {
    if is_so { Ok(()) } else { Err(Invalid::format(text)) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Argon2Variant, Digest, HashParts, Scheme, spellings};

    /// Parameters on both sides of every limit that is low, and some far beyond those that are high.
    fn number() -> impl Strategy<Value = u32> {
        prop_oneof![8 => 0_u32..40, 4 => 0_u32..200_000, 1 => any::<u32>()]
    }

    fn scheme() -> impl Strategy<Value = Scheme> {
        let argon2 = (any::<bool>(), any::<bool>(), number(), number(), number()).prop_map(
            |(is_id, is_new, memory_kibibytes, passes, lanes)| Scheme::Argon2 {
                variant: if is_id {
                    Argon2Variant::Id
                } else {
                    Argon2Variant::I
                },
                version: if is_new { 0x13 } else { 0x10 },
                memory_kibibytes,
                passes,
                lanes,
            },
        );
        let scrypt =
            (0_u8..70, number(), number()).prop_map(|(log_n, block_size, parallelism)| Scheme::Scrypt {
                log_n,
                block_size,
                parallelism,
            });
        let digest = prop::sample::select(vec![Digest::Sha1, Digest::Sha256, Digest::Sha512]);
        let pbkdf2 =
            (digest, number()).prop_map(|(digest, iterations)| Scheme::Pbkdf2 { digest, iterations });
        let firebase = (0_u8..70, number(), bytes(200), bytes(40)).prop_map(
            |(log_n, block_size, salt_separator, signer_key)| Scheme::FirebaseScrypt {
                log_n,
                block_size,
                salt_separator,
                signer_key,
            },
        );
        prop_oneof![argon2, scrypt, pbkdf2, firebase]
    }

    fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            prop::collection::vec(any::<u8>(), 0..most),
        ]
    }

    /// Tells whether the libraries that verify hashes take the parameters.
    fn can_be_computed(parts: &HashParts) -> bool {
        match &parts.scheme {
            Scheme::Argon2 {
                memory_kibibytes,
                passes,
                lanes,
                ..
            } => {
                let length = Some(parts.hash.len());
                argon2::Params::new(*memory_kibibytes, *passes, *lanes, length).is_ok()
                    && parts.salt.len() >= argon2::MIN_SALT_LEN
            }
            Scheme::Scrypt {
                log_n,
                block_size,
                parallelism,
            } => scrypt::Params::new(*log_n, *block_size, *parallelism).is_ok(),
            Scheme::Pbkdf2 { iterations, .. } => *iterations > 0,
            Scheme::FirebaseScrypt {
                log_n,
                block_size,
                signer_key,
                ..
            } => {
                scrypt::Params::new(*log_n, *block_size, 1).is_ok()
                    && signer_key.len() == parts.hash.len()
            }
        }
    }

    proptest! {
        // Most parameters are far off; this many meet every limit from both sides.
        #![proptest_config(ProptestConfig::with_cases(8_192))]

        #[test]
        fn what_is_accepted_is_kept_as_it_is_and_can_be_computed(
            scheme in scheme(), salt in bytes(140), random in bytes(140), fits in any::<bool>(),
        ) {
            /// What the database keeps.
            const MAX_CHARACTERS: usize = 1024;
            let hash = if let (true, Scheme::FirebaseScrypt { signer_key, .. }) = (fits, &scheme) {
                signer_key.clone()
            } else {
                random
            };
            let parts = HashParts { scheme, salt, hash };
            if let Ok(accepted) = parts.clone().check() {
                let kept = accepted.spell();
                prop_assert!(kept.reveal().len() <= MAX_CHARACTERS);
                prop_assert!(spellings::parse_phc(kept.reveal()) == Ok(parts.clone()));
                prop_assert!(can_be_computed(&parts));
            }
        }
    }
}
