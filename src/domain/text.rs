//! Text as people type it, and the form in which it is compared.

use unicode_normalization::UnicodeNormalization;

use super::Invalid;

/// The name of a person, as the person writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FullName(String);

impl FullName {
    /// The most characters of a name; the width of the column it comes from in older applications.
    pub const MAX_CHARACTERS: usize = 255;

    /// Accepts 1 to 255 characters, not only spaces, without control characters.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        single_line(text, Self::MAX_CHARACTERS).map(Self)
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes the name out.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }

    /// Takes a name that was valid when it was stored.
    pub(crate) const fn from_stored(text: String) -> Self {
        Self(text)
    }
}

/// Why a user is blocked, for administrators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockReason(String);

impl BlockReason {
    /// The most characters of a reason: a few sentences.
    pub const MAX_CHARACTERS: usize = 500;

    /// Accepts 1 to 500 characters, not only spaces, without control characters.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        single_line(text, Self::MAX_CHARACTERS).map(Self)
    }

    /// Returns the reason.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes the reason out.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }

    /// Takes a reason that was valid when it was stored.
    pub(crate) const fn from_stored(text: String) -> Self {
        Self(text)
    }
}

fn single_line(text: &str, max_characters: usize) -> Result<String, Invalid> {
    if text.chars().count() > max_characters {
        return Err(Invalid::too_long(max_characters, "characters"));
    }
    if text.chars().any(breaks_a_line) {
        return Err(Invalid::format("must not contain control characters"));
    }
    if text.trim().is_empty() {
        return Err(Invalid::format("must not consist of spaces"));
    }
    Ok(text.to_owned())
}

/// Control characters, and the two separators that end a line without being one.
fn breaks_a_line(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}')
}

/// Returns the form in which login names are compared: NFKC and lower case, repeated until nothing
/// changes, because lower-casing can undo a normalisation.
///
/// Characters that only look alike (Cyrillic `а` and Latin `a`) stay different.
pub(super) fn normalize(text: &str) -> String {
    /// Two rounds settle every string of Unicode 16; the third is a margin that ends the loop.
    const MAX_ROUNDS: usize = 3;
    let mut normalized: String = text.nfkc().collect();
    for _ in 0..MAX_ROUNDS {
        let next: String = normalized
            .chars()
            .flat_map(char::to_lowercase)
            // A capital sigma becomes the same small one wherever it stands.
            .map(|character| if character == 'ς' { 'σ' } else { character })
            .nfkc()
            .collect();
        if next == normalized {
            break;
        }
        normalized = next;
    }
    normalized
}

/// The two characters outside ASCII that case folding turns into ASCII letters: the Kelvin sign and the
/// long s. Nobody's name has them, and with them a stranger's name would equal a victim's.
pub(super) fn folds_into_ascii(character: char) -> bool {
    matches!(character, '\u{212A}' | '\u{017F}')
}

/// Characters that show nothing (Unicode's `Default_Ignorable_Code_Point`): two login names that differ
/// only in them would look the same.
pub(super) fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{115F}'..='\u{1160}' | '\u{17B4}'..='\u{17B5}'
        | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}'
        | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}' | '\u{1BCA0}'..='\u{1BCA3}'
        | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
}

/// Accepts a name that programs write: ASCII letters, digits, dots, hyphens and underscores.
pub(super) fn parse_plain_name(text: &str, max_characters: usize) -> Result<String, Invalid> {
    if text.chars().count() > max_characters {
        return Err(Invalid::too_long(max_characters, "characters"));
    }
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if text.is_empty() || !text.bytes().all(is_allowed) {
        return Err(Invalid::format(
            "must consist of letters, digits, dots, hyphens and underscores",
        ));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::normalize;

    proptest! {
        #[test]
        fn normalization_is_idempotent(text in any::<String>()) {
            let once = normalize(&text);
            assert_eq!(normalize(&once), once);
        }
    }

    #[test]
    fn case_and_form_do_not_matter() {
        for (one, other) in [
            ("JOSÉ", "jose\u{301}"),
            ("ﬁn", "FIN"),
            ("ａｄａ", "ada"),
            ("ΟΔΟΣ", "οδος"),
            ("ẞ", "ß"),
        ] {
            assert_eq!(normalize(one), normalize(other), "{one} {other}");
        }
        for (one, other) in [("ı", "i"), ("İ", "i"), ("а", "a"), ("ß", "ss")] {
            assert_ne!(normalize(one), normalize(other), "{one} {other}");
        }
    }
}
