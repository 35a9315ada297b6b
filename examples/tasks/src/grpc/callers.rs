//! Who is calling: the user of the access token in the metadata, and nobody else.

use tonic::metadata::MetadataMap;

use super::error::ApiError;
use crate::Clock;
use crate::access_tokens::{TokenPolicy, TokenRefusal, Unverified, UserId};
use crate::signing_keys::SigningKeys;

/// Tells who is calling.
#[derive(Clone)]
pub(crate) struct Callers {
    pub(crate) keys: SigningKeys,
    pub(crate) policy: TokenPolicy,
    pub(crate) clock: Clock,
}

impl Callers {
    /// Returns the user whose access token the call shows.
    pub(super) async fn authenticate(&self, metadata: &MetadataMap) -> Result<UserId, ApiError> {
        let token = Unverified::parse(bearer_token(metadata)?)?;
        let key = self.keys.get(token.kid()).await?;
        let key = key.ok_or(TokenRefusal::Invalid)?;
        Ok(token.verify(&key, &self.policy, (self.clock)())?)
    }
}

/// Returns the token of the metadata (RFC 6750 §2.1). Of two, neither counts: which one would be a matter of luck.
fn bearer_token(metadata: &MetadataMap) -> Result<&str, ApiError> {
    let mut values = metadata.get_all("authorization").iter();
    let value = values.next().ok_or(ApiError::TokenRequired)?;
    if values.next().is_some() {
        return Err(TokenRefusal::Invalid.into());
    }
    let text = value.to_str().map_err(|_| TokenRefusal::Invalid)?;
    let (scheme, token) = text.split_once(' ').ok_or(TokenRefusal::Invalid)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(ApiError::TokenRequired);
    }
    Ok(token.trim_start_matches(' '))
}
