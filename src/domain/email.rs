//! Email addresses as login names.

use unicode_normalization::char::is_combining_mark;

use super::Invalid;
use super::text::{folds_into_ascii, is_invisible, normalize};

/// An email address, as it was typed and in the form it is compared in.
///
/// Accepted is a dot-atom (RFC 5322 §3.2.3) with the letters and digits of any script (RFC 6531), an `@`,
/// and a domain name of two or more labels (RFC 1035, IDNA by UTS #46). Refused are quoted local parts,
/// comments, address literals, a trailing dot, surrounding spaces and invisible characters before the `@`:
/// nothing is trimmed or guessed.
/// Plus signs and dots in the local part are kept: they belong to the address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Email {
    typed: String,
    normalized: String,
}

impl Email {
    /// The most bytes of an address (RFC 5321 §4.5.3.1.3, less the angle brackets).
    pub const MAX_BYTES: usize = 254;
    /// The most bytes before the `@` (RFC 5321 §4.5.3.1.1).
    pub const MAX_LOCAL_BYTES: usize = 64;

    /// Parses an address.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.len() > Self::MAX_BYTES {
            return Err(Invalid::too_long(Self::MAX_BYTES, "bytes"));
        }
        let (local, domain) = text
            .rsplit_once('@')
            .ok_or_else(|| Invalid::format("must contain an \"@\""))?;
        let normalized = format!("{}@{}", normalize_local(local)?, normalize_domain(domain)?);
        if normalized.len() > Self::MAX_BYTES {
            return Err(Invalid::too_long(Self::MAX_BYTES, "bytes"));
        }
        Ok(Self {
            typed: text.to_owned(),
            normalized,
        })
    }

    /// Returns the address as it was typed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.typed
    }

    /// Takes the address out, as it was typed.
    #[must_use]
    pub fn into_string(self) -> String {
        self.typed
    }

    /// Returns the address in the form it is compared in.
    #[must_use]
    pub fn normalized(&self) -> &str {
        &self.normalized
    }

    /// Takes an address that was valid when it was stored.
    pub(crate) const fn from_stored(typed: String, normalized: String) -> Self {
        Self { typed, normalized }
    }
}

fn normalize_local(local: &str) -> Result<String, Invalid> {
    let normalized = normalize(local);
    if local.len() > Email::MAX_LOCAL_BYTES || normalized.len() > Email::MAX_LOCAL_BYTES {
        let mut invalid = Invalid::too_long(Email::MAX_LOCAL_BYTES, "bytes");
        invalid.description.push_str(" before the \"@\"");
        return Err(invalid);
    }
    // Some invisible characters are letters or marks to Unicode.
    let is_valid = !local
        .chars()
        .chain(normalized.chars())
        .any(|character| folds_into_ascii(character) || is_invisible(character))
        && normalized
            .split('.')
            .all(|atom| !atom.is_empty() && atom.chars().all(is_atom_text));
    if is_valid {
        Ok(normalized)
    } else {
        Err(Invalid::format(
            "must have letters, digits, dots and the signs of an email address before the \"@\"",
        ))
    }
}

/// RFC 5322's `atext`, with the letters, digits and marks of every script.
fn is_atom_text(character: char) -> bool {
    character.is_ascii_alphanumeric()
        || "!#$%&'*+-/=?^_`{|}~".contains(character)
        || (!character.is_ascii() && (character.is_alphanumeric() || is_combining_mark(character)))
}

fn normalize_domain(domain: &str) -> Result<String, Invalid> {
    /// The most bytes of a label (RFC 1035 §2.3.4).
    const MAX_LABEL_BYTES: usize = 63;
    /// The most bytes of a domain name in text (RFC 1035 §2.3.4).
    const MAX_DOMAIN_BYTES: usize = 253;
    let invalid = || Invalid::format("must have a domain name of two or more labels after the \"@\"");

    if domain.chars().any(folds_into_ascii) {
        return Err(invalid());
    }
    let ascii = idna::domain_to_ascii_strict(domain).map_err(|_| invalid())?;
    if ascii.len() > MAX_DOMAIN_BYTES {
        return Err(Invalid::too_long(MAX_DOMAIN_BYTES, "bytes after the \"@\""));
    }
    let labels: Vec<&str> = ascii.split('.').collect();
    let is_number = |label: &&str| label.bytes().all(|byte| byte.is_ascii_digit());
    let is_valid = labels.len() >= 2
        && labels.iter().all(|label| {
            (1..=MAX_LABEL_BYTES).contains(&label.len())
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        })
        // A numeric last label is an IP address, not a name (RFC 3696 §2).
        && !labels.last().is_some_and(is_number);
    if is_valid { Ok(ascii) } else { Err(invalid()) }
}

/// The beginning of an email address, in the form it is compared in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmailPrefix(String);

impl EmailPrefix {
    /// Accepts at most [`Email::MAX_BYTES`] bytes without control characters and spaces; every character
    /// stands for itself.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.len() > Email::MAX_BYTES {
            return Err(Invalid::too_long(Email::MAX_BYTES, "bytes"));
        }
        let is_impossible = |character: char| {
            character.is_control() || character.is_whitespace() || folds_into_ascii(character)
        };
        if text.chars().any(is_impossible) {
            return Err(Invalid::format(
                "must not contain characters that no email address has",
            ));
        }
        Ok(Self(normalize(text)))
    }

    /// Returns the prefix in the form it is compared in.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the smallest text that is greater than every text with this prefix, in the order of code
    /// points; `None` if there is none.
    #[must_use]
    pub fn upper_bound(&self) -> Option<String> {
        let mut characters: Vec<char> = self.0.chars().collect();
        while let Some(last) = characters.pop() {
            if let Some(next) = next_character(last) {
                characters.push(next);
                return Some(characters.into_iter().collect());
            }
        }
        None
    }
}

fn next_character(character: char) -> Option<char> {
    /// The first code point after the surrogates, which are not characters.
    const AFTER_SURROGATES: char = '\u{E000}';
    if character == '\u{D7FF}' {
        return Some(AFTER_SURROGATES);
    }
    u32::from(character).checked_add(1).and_then(char::from_u32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assume, proptest};

    use super::{Email, EmailPrefix};

    fn normalized(text: &str) -> Option<String> {
        Email::parse(text).ok().map(|email| email.normalized().to_owned())
    }

    #[test]
    fn what_is_accepted_and_how_it_is_compared() {
        for (typed, expected) in [
            ("A@Ex.com", "a@ex.com"),
            ("a+tag@x.io", "a+tag@x.io"),
            ("a.b@gmail.com", "a.b@gmail.com"),
            ("jose\u{301}@x.io", "josé@x.io"),
            ("ﬁ@x.io", "fi@x.io"),
            ("ａ@x.io", "a@x.io"),
            ("ıvan@x.io", "ıvan@x.io"),
            ("аpple@x.io", "аpple@x.io"),
            ("a@Bücher.example", "a@xn--bcher-kva.example"),
            ("o'brien%x@x.io", "o'brien%x@x.io"),
        ] {
            assert_eq!(normalized(typed).as_deref(), Some(expected), "{typed}");
        }
    }

    #[test]
    fn what_is_refused() {
        for typed in [
            "",
            "@",
            "a",
            "a@",
            "@x.io",
            "a@@x.io",
            "a@b@x.io",
            "\"a b\"@x.io",
            "a(c)@x.io",
            "a@[127.0.0.1]",
            "a@127.0.0.1",
            "a@x.io.",
            "a@x..io",
            "a@.x.io",
            "a@localhost",
            " a@x.io",
            "a@x.io ",
            "a@x.io\u{A0}",
            "\u{3000}a@x.io",
            "a\0@x.io",
            "a@x\0.io",
            "a\r\n@x.io",
            ".a@x.io",
            "a.@x.io",
            "a..b@x.io",
            "K\u{212A}ate@x.io",
            "\u{17F}am@x.io",
            "a\u{200B}b@x.io",
            "a\u{34F}b@x.io",
            "a\u{3164}b@x.io",
            "a\u{FE0F}@x.io",
            "a@-x.io",
            "a@x_y.io",
            "a@\u{212A}.io",
        ] {
            assert_eq!(normalized(typed), None, "{typed:?}");
        }
    }

    #[test]
    fn lengths() {
        let local = |count: usize| "a".repeat(count);
        assert!(normalized(&format!("{}@x.io", local(64))).is_some());
        assert!(normalized(&format!("{}@x.io", local(65))).is_none());
        assert!(normalized(&format!("a@{}.io", local(63))).is_some());
        assert!(normalized(&format!("a@{}.io", local(64))).is_none());
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_is_stable(text in any::<String>()) {
            if let Ok(email) = Email::parse(&text) {
                let again = Email::parse(email.normalized()).expect("the normalised form is an address");
                assert_eq!(again.normalized(), email.normalized());
            }
        }

        #[test]
        fn the_upper_bound_is_above_all_with_the_prefix(prefix in any::<String>(), rest in any::<String>()) {
            let Ok(prefix) = EmailPrefix::parse(&prefix) else { return Ok(()) };
            prop_assume!(!prefix.as_str().is_empty());
            if let Some(bound) = prefix.upper_bound() {
                assert!(format!("{}{rest}", prefix.as_str()) < bound);
            }
        }
    }
}
