//! What a person types to say who they are.

use ring::digest::{SHA256, digest};

use super::{Email, Invalid, Username};

/// A login name as it was typed to sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identifier {
    /// It has the form of an email.
    Email(Email),
    /// It has the form of a username.
    Username(Username),
    /// It has the form of neither, so that it is nobody's. Kept as a digest: people type passwords there.
    Neither([u8; 32]),
}

impl Identifier {
    /// The most bytes of a text that is looked at.
    pub const MAX_BYTES: usize = 1024;

    /// Accepts what somebody may type on one line.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() {
            return Err(Invalid::required("must be given"));
        }
        if text.len() > Self::MAX_BYTES {
            return Err(Invalid::too_long(Self::MAX_BYTES, "bytes"));
        }
        if text.chars().any(char::is_control) {
            return Err(Invalid::format("must not contain control characters"));
        }
        if let Ok(username) = Username::parse(text) {
            return Ok(Self::Username(username));
        }
        if let Ok(email) = Email::parse(text) {
            return Ok(Self::Email(email));
        }
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
        Ok(Self::Neither(bytes))
    }

    /// Returns what is kept of it in the list of attempts.
    #[must_use]
    pub fn recorded(&self) -> String {
        match self {
            Self::Email(email) => email.as_str().to_owned(),
            Self::Username(username) => username.as_str().to_owned(),
            Self::Neither(digest) => digest
                .iter()
                .fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}")),
        }
    }

    /// Returns bytes that are the same for every form of one login name, and differ from those of all others.
    #[must_use]
    pub fn canonical(&self) -> Vec<u8> {
        match self {
            Self::Email(email) => [b"email:", email.normalized().as_bytes()].concat(),
            Self::Username(username) => [b"username:", username.normalized().as_bytes()].concat(),
            Self::Neither(digest) => [b"neither:", digest.as_slice()].concat(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Identifier;

    #[test]
    fn forms_of_one_name_are_one_and_passwords_are_not_kept() {
        let canonical = |text| Identifier::parse(text).expect("a name").canonical();
        assert_eq!(canonical("ADA@Example.com"), canonical("ada@example.COM"));
        assert_eq!(canonical(r"\D\U"), canonical(r"\d\u"));
        assert_ne!(canonical("ada@example.com"), canonical("eve@example.com"));

        let typed = Identifier::parse("correct horse battery").expect("a text");
        assert!(typed.recorded().starts_with("sha256:"));
        assert!(!typed.recorded().contains("horse"));
        assert_eq!(typed.recorded().len(), 7 + 64);
        assert!(Identifier::parse("a\0b").is_err());
        assert!(Identifier::parse("").is_err());
    }
}
