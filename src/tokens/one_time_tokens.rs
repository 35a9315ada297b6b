//! Tokens that work once: 32 random bytes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use super::{SecretToken, TokenError, hash_of};

/// What a one-time token begins with, so that scanners for leaked secrets recognise it.
const PREFIX: &str = "ido_";

/// As many as there are in a SHA-256, which is what is stored.
const RANDOM_BYTES: usize = 32;

/// Makes and reads one-time tokens.
#[derive(Debug, Clone, Copy)]
pub struct OneTimeTokens;

impl OneTimeTokens {
    /// Makes a token, and the form in which it is stored.
    pub fn issue() -> Result<(SecretToken, [u8; 32]), TokenError> {
        let mut bytes = Zeroizing::new([0; RANDOM_BYTES]);
        SystemRandom::new()
            .fill(bytes.as_mut_slice())
            .map_err(|_| TokenError::NoRandomness)?;
        let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes.as_slice()));
        let hash = hash_of(&text);
        Ok((SecretToken::new(text), hash))
    }

    /// Returns the form in which a token is stored; `None` for what has not the form of one.
    #[must_use]
    pub fn read(text: &str) -> Option<[u8; 32]> {
        let encoded = text.strip_prefix(PREFIX)?;
        let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(encoded).ok()?);
        (bytes.len() == RANDOM_BYTES).then(|| hash_of(text))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::OneTimeTokens;

    #[test]
    fn no_two_are_alike_and_none_is_cut() {
        let mut seen = HashSet::new();
        for _ in 0..1000 {
            let (token, hash) = OneTimeTokens::issue().expect("a token");
            assert_eq!(OneTimeTokens::read(token.reveal()), Some(hash));
            let text = token.reveal();
            let cut: String = text.chars().take(text.len() - 1).collect();
            assert_eq!(OneTimeTokens::read(&cut), None);
            assert_eq!(OneTimeTokens::read(&format!("{text}A")), None);
            assert!(seen.insert(hash));
        }
    }
}
