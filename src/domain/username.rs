//! Login names of the form `\domain\name`.

use super::Invalid;
use super::text::{folds_into_ascii, is_invisible, normalize};

/// A login name of the form `\domain\name`, as it was typed and in the form it is compared in.
///
/// Both parts have at least one character and none that is a backslash, a space, a control character or
/// invisible. `\D\U` and `\d\u` are the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Username {
    typed: String,
    normalized: String,
}

impl Username {
    /// The most characters of a name, both backslashes included.
    pub const MAX_CHARACTERS: usize = 255;

    /// Parses a name.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let normalized = normalize(text);
        if text.chars().count() > Self::MAX_CHARACTERS
            || normalized.chars().count() > Self::MAX_CHARACTERS
        {
            return Err(Invalid::too_long(Self::MAX_CHARACTERS, "characters"));
        }
        // The normalised form is looked at too: some characters become a backslash or a space in it.
        if has_shape(text) && has_shape(&normalized) {
            Ok(Self {
                typed: text.to_owned(),
                normalized,
            })
        } else {
            Err(Invalid::format(
                "must have the form \\domain\\name, without spaces and control characters",
            ))
        }
    }

    /// Returns the name as it was typed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.typed
    }

    /// Takes the name out, as it was typed.
    #[must_use]
    pub fn into_string(self) -> String {
        self.typed
    }

    /// Returns the name in the form it is compared in.
    #[must_use]
    pub fn normalized(&self) -> &str {
        &self.normalized
    }

    /// Takes a name that was valid when it was stored.
    pub(crate) const fn from_stored(typed: String, normalized: String) -> Self {
        Self { typed, normalized }
    }
}

fn has_shape(text: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty()
            && !part.chars().any(|character| {
                character.is_control()
                    || character.is_whitespace()
                    || folds_into_ascii(character)
                    || is_invisible(character)
            })
    };
    let mut parts = text.split('\\');
    parts.next() == Some("")
        && parts.next().is_some_and(is_part)
        && parts.next().is_some_and(is_part)
        && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::Username;

    #[test]
    fn only_the_one_shape_is_accepted() {
        for name in [r"\d\u", r"\Domain\User.Name", r"\türkiye\ışık", r"\d\u@x"] {
            assert!(Username::parse(name).is_ok(), "{name}");
        }
        for name in [
            "",
            r"\",
            r"\\",
            r"\\d\u",
            r"d\u",
            r"\d\",
            r"\\u",
            r"\d\u\v",
            r"\ \ ",
            r"\d\u\",
            "/d/u",
            r"\d\u ",
            "\\d\\u\u{FF3C}v",
            "\\d\\\0",
            "\\d\\u\u{200B}",
            "\\d\\\u{212A}",
        ] {
            assert!(Username::parse(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn case_does_not_matter() {
        let one = Username::parse(r"\D\U").map(|name| name.normalized().to_owned());
        let other = Username::parse(r"\d\u").map(|name| name.normalized().to_owned());
        assert_eq!(one, other);
    }
}
