//! Tokens: what they are made of, and how they are recognised.
//!
//! | token | form | at rest |
//! |---|---|---|
//! | access token | JWT signed with ES256 (RFC 9068) | nothing |
//! | refresh token | `idr_` and, in base64url, session, generation and their HMAC | SHA-256 |
//! | one-time token | `ido_` and 32 random bytes in base64url | SHA-256 |
//! | service token | `ids_`, 32 random bytes and 4 bytes of their SHA-256, in hexadecimal digits | SHA-256 |

mod access_tokens;
mod admin_token;
mod jws;
mod one_time_tokens;
mod refresh_tokens;
mod secret_token;
mod service_tokens;
mod signing_keys;
mod verified_tokens;

pub use access_tokens::{AccessClaims, AccessTokenPolicy, AccessTokens, IssuedAccessToken};
pub use admin_token::{AdminTokenError, admin_token_path, make_admin_token};
pub use jws::PublicJwk;
pub use one_time_tokens::OneTimeTokens;
pub use refresh_tokens::{PresentedRefreshToken, RefreshTokens};
pub use secret_token::SecretToken;
pub use service_tokens::{FoundServiceToken, ServiceTokens, StandingToken};
pub use signing_keys::{SigningKeys, TokenError};

use ring::digest::{SHA256, digest};

/// Returns the form in which a token is stored and found.
fn hash_of(token: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    hash
}
