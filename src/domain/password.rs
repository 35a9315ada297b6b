//! Passwords and their hashes: secrets, which print nothing.

use std::fmt;

use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use super::{Invalid, InvalidReason};

/// What a password must be like beyond what every password must.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordPolicy {
    /// The fewest characters (code points), from [`PasswordPolicy::FLOOR`] up.
    pub min_characters: usize,
}

impl PasswordPolicy {
    /// The fewest characters a deployment can allow (NIST SP 800-63B-4 §3.1.1.2).
    pub const FLOOR: usize = 8;
    /// The fewest characters unless configured: what NIST asks of a password that is the only factor.
    pub const DEFAULT_MIN_CHARACTERS: usize = 15;
}

impl Default for PasswordPolicy {
    fn default() -> Self {
        Self {
            min_characters: Self::DEFAULT_MIN_CHARACTERS,
        }
    }
}

/// A password that someone chose. Erased from memory when dropped; its `Debug` prints nothing of it.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// The most bytes of a password, because bcrypt ignores the rest.
    pub const MAX_BYTES: usize = 72;

    /// Accepts a new password: NFC-normalised, otherwise taken as it is, at most 72 bytes, no NUL, and as
    /// `policy` asks.
    pub fn parse_new(text: &str, policy: PasswordPolicy) -> Result<Self, Invalid> {
        /// No text of more bytes than this can become [`Password::MAX_BYTES`] or fewer by NFC, which
        /// shrinks a character to a third at most.
        const MAX_BYTES_BEFORE_NORMALIZATION: usize = Password::MAX_BYTES * 3;
        if text.len() > MAX_BYTES_BEFORE_NORMALIZATION {
            return Err(Invalid::too_long(Self::MAX_BYTES, "bytes"));
        }
        let normalized: Zeroizing<String> = Zeroizing::new(text.nfc().collect());
        if normalized.len() > Self::MAX_BYTES {
            return Err(Invalid::too_long(Self::MAX_BYTES, "bytes"));
        }
        if normalized.contains('\0') {
            return Err(Invalid::format("must not contain NUL"));
        }
        if normalized.chars().count() < policy.min_characters {
            return Err(Invalid {
                reason: InvalidReason::TooWeak {
                    limit: i64::try_from(policy.min_characters).unwrap_or(i64::MAX),
                },
                description: format!("must have at least {} characters", policy.min_characters),
            });
        }
        Ok(Self(normalized))
    }

    /// Returns the password, for hashing.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password([redacted])")
    }
}

/// A bcrypt hash: 60 characters. Its `Debug` prints nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Takes a hash that bcrypt produced or the database holds.
    pub(crate) const fn new(hash: String) -> Self {
        Self(hash)
    }

    /// Returns the hash, for the database and for verification.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::{Password, PasswordHash, PasswordPolicy};

    fn accepts(text: &str) -> bool {
        Password::parse_new(text, PasswordPolicy::default()).is_ok()
    }

    #[test]
    fn boundaries() {
        assert!(!accepts(&"a".repeat(14)));
        assert!(accepts(&"a".repeat(15)));
        assert!(accepts(&"a".repeat(72)));
        assert!(!accepts(&"a".repeat(73)));
        assert!(accepts(&"🔑".repeat(18)));
        assert!(!accepts(&"🔑".repeat(19)));
        assert!(!accepts("a password with \0 in it"));
        assert!(accepts("    spaces inside    "));
        // Fifteen letters with their marks apart: fifteen characters once normalised.
        assert!(accepts(&"e\u{301}".repeat(15)));
        assert!(!accepts(&"e\u{301}".repeat(14)));
    }

    #[test]
    fn secrets_print_nothing() {
        let password = Password::parse_new("correct horse battery", PasswordPolicy::default());
        assert!(!format!("{password:?}").contains("horse"));
        assert!(!format!("{:?}", PasswordHash::new("$2b$12$secret".to_owned())).contains("secret"));
    }
}
