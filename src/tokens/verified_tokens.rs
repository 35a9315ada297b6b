//! Access tokens whose signature was looked at.
//!
//! To verify a signature takes longer than everything else that a call does. A token comes with many calls, so what a
//! good one says is remembered, under its digest; what else has to be true of it is looked at every time.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::AccessClaims;

/// The digest of a token.
type Hash = [u8; 32];

/// What good tokens say: a bounded number of those that came last.
///
/// There are two generations. What is found moves to the young one; when that is full it becomes the old one, and what
/// was the old one is forgotten. So whatever came again within half of the bound is there.
#[derive(Debug, Default)]
pub(super) struct VerifiedTokens(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Hash, AccessClaims>,
    old: HashMap<Hash, AccessClaims>,
}

impl VerifiedTokens {
    /// The most of a generation: about three megabytes for both.
    const GENERATION: usize = 4096;

    /// Returns what a token says that was good when it came before.
    pub(super) fn get(&self, hash: &Hash) -> Option<AccessClaims> {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(claims) = generations.young.get(hash) {
            return Some(claims.clone());
        }
        let claims = generations.old.remove(hash)?;
        generations.insert(*hash, claims.clone());
        Some(claims)
    }

    /// Remembers what a good token says.
    pub(super) fn insert(&self, hash: Hash, claims: AccessClaims) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(hash, claims);
    }

    /// Forgets a token.
    pub(super) fn remove(&self, hash: &Hash) {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        generations.young.remove(hash);
        generations.old.remove(hash);
    }
}

impl Generations {
    fn insert(&mut self, hash: Hash, claims: AccessClaims) {
        if self.young.len() == VerifiedTokens::GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(hash, claims);
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use uuid::Uuid;

    use super::{Hash, VerifiedTokens};
    use crate::domain::{ClientId, SessionId, UserId, new_uuid};
    use crate::tokens::AccessClaims;

    fn hash(number: usize) -> Hash {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&number.to_le_bytes());
        hash
    }

    fn claims(number: u128) -> AccessClaims {
        let now = DateTime::UNIX_EPOCH;
        let id = new_uuid(now).to_string();
        AccessClaims {
            user_id: UserId::parse(&id).expect("an id"),
            session_id: SessionId::parse(&id).expect("an id"),
            client_id: ClientId::parse("app").expect("a client"),
            token_id: Uuid::from_u128(number),
            issued_at: now,
            expires_at: now,
            kid: "key".to_owned(),
        }
    }

    #[test]
    fn what_comes_again_stays_and_the_rest_is_forgotten() {
        let tokens = VerifiedTokens::default();
        let regular = claims(1);
        tokens.insert(hash(0), regular.clone());
        tokens.insert(hash(1), claims(2));
        for number in 2..10 * VerifiedTokens::GENERATION {
            tokens.insert(hash(number), claims(3));
            if number % 1000 == 0 {
                assert_eq!(tokens.get(&hash(0)), Some(regular.clone()));
            }
        }
        assert_eq!(tokens.get(&hash(1)), None);
        let generations = tokens.0.lock().expect("no panic");
        let count = generations.young.len() + generations.old.len();
        assert!(count <= 2 * VerifiedTokens::GENERATION, "{count}");
    }

    #[test]
    fn what_is_removed_is_in_no_generation() {
        let tokens = VerifiedTokens::default();
        for number in 0..=VerifiedTokens::GENERATION {
            tokens.insert(hash(number), claims(1));
        }
        for number in [0, VerifiedTokens::GENERATION] {
            assert!(tokens.get(&hash(number)).is_some());
            tokens.remove(&hash(number));
            assert_eq!(tokens.get(&hash(number)), None);
        }
    }
}
