//! Hashes of passwords that other systems have computed: what they look like, and how they are kept.
//!
//! A hash that bcrypt has computed is a [`PasswordHash`] like those of this service. The others are kept as they are
//! until their user signs in, and are replaced by a hash of bcrypt then. What verifying one may cost is bounded when
//! it is imported.

mod limits;
mod spellings;

use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

pub use spellings::{FirebasePassword, ForeignPassword};

use super::PasswordHash;

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
