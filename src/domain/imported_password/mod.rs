//! Hashes of passwords that other systems have computed: what they look like, and how they are kept.
//!
//! A hash that bcrypt has computed is a [`PasswordHash`] like those of this service. The others are kept as they are
//! until their user signs in, and are replaced by a hash of bcrypt then. What verifying one may cost is bounded when
//! it is imported.

mod spellings;

use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

pub use spellings::{FirebasePassword, ForeignPassword};

use super::{Invalid, PasswordHash};

/// Base 64 as in PHC strings: no padding is written, and any is accepted.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The hash of a password that somebody brings along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForeignPasswordHash {
    /// bcrypt has computed it.
    Bcrypt(PasswordHash),
    /// Something else has.
    Other(ImportedPasswordHash),
}

/// A hash that was not computed by bcrypt, in one canonical spelling: a PHC string, or one like it. Its `Debug` prints
/// nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct ImportedPasswordHash(String);

impl ImportedPasswordHash {
    /// Takes a hash that the database holds.
    pub(crate) const fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// Returns the hash, for the database.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    /// Returns what is needed to verify a password. A hash that was accepted once has it.
    pub(crate) fn parts(&self) -> Option<HashParts> {
        spellings::parse_phc(&self.0).ok()
    }
}

impl fmt::Debug for ImportedPasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ImportedPasswordHash([redacted])")
    }
}

/// How a hash was computed, and what came out.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct HashParts {
    pub(crate) scheme: Scheme,
    pub(crate) salt: Vec<u8>,
    pub(crate) hash: Vec<u8>,
}

/// The functions that hash passwords. Their `Debug` prints nothing: Firebase's has a key of the project in it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// Argon2 (RFC 9106).
    Argon2 {
        variant: Argon2Variant,
        /// 16 or 19.
        version: u32,
        memory_kibibytes: u32,
        passes: u32,
        lanes: u32,
    },
    /// scrypt (RFC 7914).
    Scrypt {
        log_n: u8,
        block_size: u32,
        parallelism: u32,
    },
    /// PBKDF2 (RFC 8018).
    Pbkdf2 { digest: Digest, iterations: u32 },
    /// scrypt as Firebase uses it: its output encrypts a key of the project.
    FirebaseScrypt {
        log_n: u8,
        block_size: u32,
        salt_separator: Vec<u8>,
        signer_key: Vec<u8>,
    },
}

/// The variants of Argon2 that are accepted: data-dependent memory access alone (Argon2d) is not meant for passwords.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Argon2Variant {
    I,
    Id,
}

/// The hash functions below PBKDF2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Digest {
    Sha1,
    Sha256,
    Sha512,
}

impl Digest {
    const ALL: [(Self, &'static str); 3] = [
        (Self::Sha1, "sha1"),
        (Self::Sha256, "sha256"),
        (Self::Sha512, "sha512"),
    ];

    fn from_name(name: &str) -> Option<Self> {
        let found = Self::ALL.into_iter().find(|(_, known)| *known == name);
        found.map(|(digest, _)| digest)
    }

    fn name(self) -> &'static str {
        let found = Self::ALL.into_iter().find(|(digest, _)| *digest == self);
        found.map_or("", |(_, name)| name)
    }
}

impl HashParts {
    /// Refuses what would cost too much to verify, or is no hash.
    fn check(self) -> Result<Self, Invalid> {
        /// A hash shorter than this could be found by chance; nothing computes one longer than the other.
        const HASH_BYTES: std::ops::RangeInclusive<usize> = 16..=128;
        /// No system uses longer salts.
        const MAX_SALT_BYTES: usize = 128;
        /// Of memory, for one hash: several may be verified at the same time.
        const MAX_MEMORY_KIBIBYTES: u64 = 128 * 1024;
        /// Of memory, written over and over: what a core does in about a second.
        const MAX_WORK_KIBIBYTES: u64 = 1024 * 1024;
        /// Twice what is recommended today, about a second.
        const MAX_ITERATIONS: u64 = 2_000_000;
        const MAX_LANES: u64 = 16;
        const MAX_LOG_N: u64 = 20;
        const MAX_BLOCK_SIZE: u64 = 64;
        let scrypt_kibibytes = |log_n: u8, block_size: u32| {
            /// Of one block, per unit of the block size.
            const BYTES: u64 = 128;
            (u64::from(block_size) * BYTES) << u32::from(log_n).min(MAX_LOG_N.try_into().unwrap_or(0))
                >> 10
        };
        if !HASH_BYTES.contains(&self.hash.len()) {
            return Err(Invalid::format("must be a hash of 16 to 128 bytes"));
        }
        if self.salt.len() > MAX_SALT_BYTES {
            return Err(Invalid::too_long(MAX_SALT_BYTES, "bytes of salt"));
        }
        let limits: Vec<(u64, u64, &str)> = match &self.scheme {
            Scheme::Argon2 {
                memory_kibibytes,
                passes,
                lanes,
                ..
            } => {
                let (memory, passes) = (u64::from(*memory_kibibytes), u64::from(*passes));
                vec![
                    (memory, MAX_MEMORY_KIBIBYTES, "KiB of memory"),
                    (memory * passes, MAX_WORK_KIBIBYTES, "KiB of memory in all passes"),
                    ((*lanes).into(), MAX_LANES, "lanes"),
                ]
            }
            Scheme::Scrypt {
                log_n,
                block_size,
                parallelism,
            } => {
                let memory = scrypt_kibibytes(*log_n, (*block_size).min(u32::MAX >> 20));
                vec![
                    ((*log_n).into(), MAX_LOG_N, "as the exponent of N"),
                    ((*block_size).into(), MAX_BLOCK_SIZE, "as the block size"),
                    ((*parallelism).into(), MAX_LANES, "as the parallelism"),
                    (memory, MAX_MEMORY_KIBIBYTES, "KiB of memory"),
                    (
                        memory * u64::from(*parallelism),
                        MAX_WORK_KIBIBYTES,
                        "KiB of memory in all",
                    ),
                ]
            }
            Scheme::Pbkdf2 { iterations, .. } => {
                vec![((*iterations).into(), MAX_ITERATIONS, "iterations")]
            }
            Scheme::FirebaseScrypt {
                log_n, block_size, ..
            } => {
                let memory = scrypt_kibibytes(*log_n, (*block_size).min(u32::MAX >> 20));
                vec![
                    ((*log_n).into(), MAX_LOG_N, "as the memory cost"),
                    ((*block_size).into(), MAX_BLOCK_SIZE, "rounds"),
                    (memory, MAX_MEMORY_KIBIBYTES, "KiB of memory"),
                ]
            }
        };
        for (value, limit, unit) in limits {
            if value > limit {
                return Err(Invalid::too_long(
                    usize::try_from(limit).unwrap_or(usize::MAX),
                    unit,
                ));
            }
        }
        Ok(self)
    }

    /// Spells the hash as it is kept.
    fn spell(&self) -> ImportedPasswordHash {
        let encode = |bytes: &[u8]| BASE64.encode(bytes);
        let (salt, hash) = (encode(&self.salt), encode(&self.hash));
        ImportedPasswordHash(match &self.scheme {
            Scheme::Argon2 {
                variant,
                version,
                memory_kibibytes,
                passes,
                lanes,
            } => {
                let name = match variant {
                    Argon2Variant::I => "argon2i",
                    Argon2Variant::Id => "argon2id",
                };
                format!("${name}$v={version}$m={memory_kibibytes},t={passes},p={lanes}${salt}${hash}")
            }
            Scheme::Scrypt {
                log_n,
                block_size,
                parallelism,
            } => format!("$scrypt$ln={log_n},r={block_size},p={parallelism}${salt}${hash}"),
            Scheme::Pbkdf2 { digest, iterations } => {
                format!("$pbkdf2-{}$i={iterations}${salt}${hash}", digest.name())
            }
            Scheme::FirebaseScrypt {
                log_n,
                block_size,
                salt_separator,
                signer_key,
            } => format!(
                "$firebase-scrypt$ln={log_n},r={block_size}${}${}${salt}${hash}",
                encode(salt_separator),
                encode(signer_key)
            ),
        })
    }
}

impl fmt::Debug for HashParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashParts([redacted])")
    }
}

impl fmt::Debug for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scheme([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::{FirebasePassword, ForeignPassword, ForeignPasswordHash};

    #[test]
    fn debug_prints_nothing_of_a_hash_or_a_key() {
        let firebase = FirebasePassword {
            hash: "AAECAwQFBgcICQoLDA0ODw==",
            salt: "c2FsdHNhbHQ=",
            signer_key: "EBESExQVFhcYGRobHB0eHw==",
            salt_separator: "Bw==",
            rounds: 8,
            memory_cost: 14,
        };
        let password = ForeignPassword {
            text: "",
            keycloak: None,
            firebase: Some(firebase),
        };
        let parsed = password.parse().unwrap().unwrap();
        let ForeignPasswordHash::Other(hash) = &parsed else {
            panic!("not a hash of bcrypt");
        };
        let parts = hash.parts().unwrap();
        assert_eq!(
            format!("{parsed:?} {parts:?} {:?}", parts.scheme),
            "Other(ImportedPasswordHash([redacted])) HashParts([redacted]) Scheme([redacted])"
        );
    }
}
