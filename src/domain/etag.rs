//! Entity tags: which version of a user a caller has seen.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{Context, SHA256};

use super::UserId;

/// Identifies one version of one user (AIP-154). Quoted, as RFC 9110 §8.8.3 writes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Etag(String);

impl Etag {
    /// The most characters an etag from a caller may have before it is not even compared.
    pub const MAX_CHARACTERS: usize = 64;

    /// Computes the etag of a version. Users never share one, even at the same version.
    #[must_use]
    pub fn of(id: UserId, version: i64) -> Self {
        /// 96 bits: no two versions of a user meet by chance.
        const DIGEST_BYTES: usize = 12;
        let mut context = Context::new(&SHA256);
        context.update(id.uuid().as_bytes());
        context.update(&version.to_be_bytes());
        let digest = context.finish();
        let short = digest.as_ref().get(..DIGEST_BYTES).unwrap_or_default();
        let mut text = String::with_capacity(2 + DIGEST_BYTES.div_ceil(3) * 4);
        text.push('"');
        URL_SAFE_NO_PAD.encode_string(short, &mut text);
        text.push('"');
        Self(text)
    }

    /// Takes an etag that a caller sent; it need not be one that was ever issued.
    #[must_use]
    pub const fn from_caller(text: String) -> Self {
        Self(text)
    }

    /// Returns the text of the etag.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes the text out.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}
