//! Where a change comes from: who did it, and in which call.

use uuid::Uuid;

use super::{Actor, Invalid};

/// What the log lines and the events of one call have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorrelationId(String);

impl CorrelationId {
    /// The most characters of an id: twice those of a UUID and some.
    pub const MAX_CHARACTERS: usize = 128;

    /// Accepts 1 to 128 letters, digits, dots, colons, hyphens, underscores, slashes, plus and equals signs: it goes to
    /// logs.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.len() > Self::MAX_CHARACTERS {
            return Err(Invalid::too_long(Self::MAX_CHARACTERS, "characters"));
        }
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".:-_/+=".contains(&byte);
        if text.is_empty() || !text.bytes().all(is_allowed) {
            return Err(Invalid::format(
                "must consist of letters, digits and the characters .:-_/+=",
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// Makes a new id.
    #[must_use]
    pub fn generate() -> Self {
        Self(Uuid::new_v4().to_string())
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes an id that was valid when it was stored.
    pub(crate) const fn from_stored(text: String) -> Self {
        Self(text)
    }
}

/// Where a change comes from. It is on record beside everything that changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Who does it: what the credential of the call says, and nothing else.
    pub actor: Actor,
    /// The call.
    pub correlation_id: CorrelationId,
}

impl Origin {
    /// Makes the origin of what is not done by a call: by a command, or by the service itself.
    #[must_use]
    pub fn beside_calls(actor: Actor) -> Self {
        Self {
            actor,
            correlation_id: CorrelationId::generate(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::CorrelationId;

    #[test]
    fn ids_can_be_logged() {
        let longest = "x".repeat(CorrelationId::MAX_CHARACTERS);
        for text in ["a", "req-1/2:3", "a+b==", longest.as_str()] {
            assert_eq!(
                CorrelationId::parse(text).map(|id| id.0),
                Ok(text.to_owned()),
                "{text}"
            );
        }
        let too_long = format!("{longest}x");
        for text in ["", "a b", "a\tb", "\"", "é", "ada@example.com", &too_long] {
            assert!(CorrelationId::parse(text).is_err(), "{text}");
        }
        let made = CorrelationId::generate();
        assert_eq!(CorrelationId::parse(made.as_str()), Ok(made));
    }
}
