//! Passwords and their hashes: secrets, which print nothing.

use std::fmt;

use chrono::{DateTime, Utc};
use passwords::analyzer::is_common_password;
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use super::{Invalid, InvalidReason, Profile};

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

    /// Accepts a new password: NFC-normalised, otherwise taken as it is, at most 72 bytes, no NUL, as `policy`
    /// asks, none of those that attackers try first, and not made of `profile`.
    pub fn parse_new(text: &str, policy: PasswordPolicy, profile: &Profile) -> Result<Self, Invalid> {
        let Some(normalized) = normalize(text)? else {
            return Err(Invalid::too_long(Self::MAX_BYTES, "bytes"));
        };
        if normalized.chars().count() < policy.min_characters {
            return Err(Invalid {
                reason: InvalidReason::TooWeak {
                    limit: i64::try_from(policy.min_characters).unwrap_or(i64::MAX),
                },
                description: format!("must have at least {} characters", policy.min_characters),
            });
        }
        if is_common(&normalized) {
            return Err(Invalid {
                reason: InvalidReason::Breached,
                description: "is one of the passwords that attackers try first".to_owned(),
            });
        }
        if is_personal(&normalized, profile) {
            return Err(Invalid {
                reason: InvalidReason::Personal,
                description: "must be more than the user's own email, username or name".to_owned(),
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

/// Returns the form in which a password is hashed, or nothing if it is longer than bcrypt looks at.
fn normalize(text: &str) -> Result<Option<Zeroizing<String>>, Invalid> {
    /// No text of more bytes than this can become [`Password::MAX_BYTES`] or fewer by NFC, which shrinks a
    /// character to a third at most.
    const MAX_BYTES_BEFORE_NORMALIZATION: usize = Password::MAX_BYTES * 3;
    if text.contains('\0') {
        return Err(Invalid::format("must not contain NUL"));
    }
    if text.len() > MAX_BYTES_BEFORE_NORMALIZATION {
        return Ok(None);
    }
    let normalized: Zeroizing<String> = Zeroizing::new(text.nfc().collect());
    Ok((normalized.len() <= Password::MAX_BYTES).then_some(normalized))
}

/// Tells whether a password, in any case, is on the list of a hundred thousand common ones that the
/// program carries (NIST SP 800-63B-4 §3.1.1.2).
fn is_common(password: &str) -> bool {
    let lower = Zeroizing::new(password.to_lowercase());
    is_common_password(password) || (*lower != password && is_common_password(lower.as_str()))
}

/// Tells whether little is left of a password without the words that anyone knows who knows the user.
fn is_personal(password: &str, profile: &Profile) -> bool {
    /// Shorter words are in many passwords by chance.
    const MIN_WORD_CHARACTERS: usize = 3;
    /// The name of this service.
    const SERVICE: &str = "identity";
    let known = [
        profile.email.as_ref().map(|email| email.normalized()),
        profile.username.as_ref().map(|username| username.normalized()),
        profile.full_name.as_ref().map(|name| name.as_str()),
        Some(SERVICE),
    ];
    let mut words: Vec<String> = known
        .into_iter()
        .flatten()
        .flat_map(|text| text.split(|character: char| !character.is_alphanumeric()))
        .map(str::to_lowercase)
        .filter(|word| word.chars().count() >= MIN_WORD_CHARACTERS)
        .collect();
    // A short word may be a part of a longer one.
    words.sort_by_key(|word| std::cmp::Reverse(word.len()));
    let whole: Zeroizing<String> = Zeroizing::new(
        password
            .to_lowercase()
            .chars()
            .filter(|character| character.is_alphanumeric())
            .collect(),
    );
    let mut rest = whole.clone();
    for word in words {
        rest = Zeroizing::new(rest.replace(&word, ""));
    }
    rest.len() < whole.len() && rest.chars().count() < PasswordPolicy::FLOOR
}

/// A password that somebody presents to be let in.
#[derive(Debug, Clone)]
pub enum PresentedPassword {
    /// It may be somebody's.
    Possible(Password),
    /// It is longer than any password can be, so that it is nobody's. bcrypt would ignore the rest.
    TooLong,
}

impl PresentedPassword {
    /// The most bytes of a text that is looked at.
    pub const MAX_BYTES: usize = 1024;

    /// Accepts what somebody may type. NFC-normalised, otherwise taken as it is.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() {
            return Err(Invalid::required("must be given"));
        }
        if text.len() > Self::MAX_BYTES {
            return Err(Invalid::too_long(Self::MAX_BYTES, "bytes"));
        }
        Ok(normalize(text)?.map_or(Self::TooLong, |normalized| Self::Possible(Password(normalized))))
    }

    /// Tells whether it is a certain password, however either was typed.
    #[must_use]
    pub fn is(&self, password: &Password) -> bool {
        matches!(self, Self::Possible(presented) if presented.reveal() == password.reveal())
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

    /// Returns the cost it was computed with: the two digits after the version.
    #[must_use]
    pub(crate) fn cost(&self) -> Option<u32> {
        self.0.split('$').nth(2)?.parse().ok()
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash([redacted])")
    }
}

/// The password of a user at the moment when it turned out right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedPassword {
    /// The hash it was verified against.
    pub hash: PasswordHash,
    /// When the password was set.
    pub changed_at: Option<DateTime<Utc>>,
}

#[cfg(test)]
mod tests {
    use super::{Password, PasswordHash, PasswordPolicy, PresentedPassword};
    use crate::domain::{Email, FullName, InvalidReason, Profile, Username};

    fn refusal(text: &str) -> Option<InvalidReason> {
        refusal_of(text, &Profile::default())
    }

    fn refusal_of(text: &str, profile: &Profile) -> Option<InvalidReason> {
        Password::parse_new(text, PasswordPolicy::default(), profile)
            .err()
            .map(|invalid| invalid.reason)
    }

    #[test]
    fn boundaries() {
        let accepts = |text: &str| refusal(text).is_none();
        assert!(!accepts(&"ab".repeat(7)));
        assert!(accepts(&"abc".repeat(5)));
        assert!(accepts(&"abc".repeat(24)));
        assert!(!accepts(&format!("{}a", "abc".repeat(24))));
        assert!(accepts(&"🔑".repeat(18)));
        assert!(!accepts(&"🔑".repeat(19)));
        assert!(!accepts("a password with \0 in it"));
        assert!(accepts("    spaces inside    "));
        // Fifteen letters with their marks apart: fifteen characters once normalised.
        assert!(accepts(&"e\u{301}".repeat(15)));
        assert!(!accepts(&"e\u{301}".repeat(14)));
    }

    #[test]
    fn common_ones_are_refused_in_any_case() {
        for text in [
            "passwordpassword",
            "PasswordPassword",
            "123456789012345",
            "1q2w3e4r5t6y7u8i",
        ] {
            assert_eq!(refusal(text), Some(InvalidReason::Breached), "{text}");
        }
        assert_eq!(refusal("zyxwvutsrqponmlkjihg"), None);
    }

    #[test]
    fn the_names_of_the_user_do_not_count() {
        let profile = Profile {
            email: Email::parse("countess.lovelace@analytical.example").ok(),
            username: Username::parse(r"\engine\enchantress").ok(),
            full_name: FullName::parse("Ada Lovelace").ok(),
            birth_date: None,
        };
        for text in [
            "countess.lovelace@analytical.example",
            "Ada-Lovelace-1815",
            "engine\\enchantress!!",
            "lovelacelovelace",
            "Identity123456!",
        ] {
            let reason = refusal_of(text, &profile);
            assert_eq!(reason, Some(InvalidReason::Personal), "{text}");
        }
        for text in ["lovelace and a bicycle", "correct horse battery"] {
            assert_eq!(refusal_of(text, &profile), None, "{text}");
        }
    }

    #[test]
    fn what_is_presented_may_be_too_long_but_is_never_cut() {
        let is_possible = |length| {
            let parsed = PresentedPassword::parse(&"a".repeat(length));
            matches!(parsed, Ok(PresentedPassword::Possible(_)))
        };
        assert!(is_possible(1));
        assert!(is_possible(72));
        assert!(!is_possible(73));
        assert!(!is_possible(1024));
        assert!(PresentedPassword::parse(&"a".repeat(1024)).is_ok());
        assert!(PresentedPassword::parse(&"a".repeat(1025)).is_err());
        assert!(PresentedPassword::parse("a\0b").is_err());
        assert!(PresentedPassword::parse("").is_err());
    }

    #[test]
    fn secrets_print_nothing() {
        let policy = PasswordPolicy::default();
        let password = Password::parse_new("correct horse battery", policy, &Profile::default());
        assert!(!format!("{password:?}").contains("horse"));
        assert!(!format!("{:?}", PasswordHash::new("$2b$12$secret".to_owned())).contains("secret"));
        assert_eq!(PasswordHash::new("$2b$12$secret".to_owned()).cost(), Some(12));
    }
}
