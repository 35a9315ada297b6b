//! The keys that sign access tokens, and when they do.

use chrono::{DateTime, TimeDelta, Utc};

/// A signing key as it is stored: its private part is encrypted.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKeyRecord {
    /// The thumbprint of the public key.
    pub kid: String,
    /// The public key: an uncompressed point of P-256.
    pub public_key: Vec<u8>,
    /// The private key, encrypted.
    pub private_key: Vec<u8>,
    /// From when it signs.
    pub activates_at: DateTime<Utc>,
    /// From when its successor signs; nothing for the newest key.
    pub retires_at: Option<DateTime<Utc>>,
    /// When it was given up, if it was.
    pub revoked_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

impl std::fmt::Debug for SigningKeyRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKeyRecord")
            .field("kid", &self.kid)
            .field("activates_at", &self.activates_at)
            .field("retires_at", &self.retires_at)
            .field("revoked_at", &self.revoked_at)
            .finish_non_exhaustive()
    }
}

impl SigningKeyRecord {
    /// Tells whether the key signs at a time.
    #[must_use]
    pub fn is_active(&self, now: DateTime<Utc>) -> bool {
        self.revoked_at.is_none()
            && self.activates_at <= now
            && self.retires_at.is_none_or(|retires_at| now < retires_at)
    }

    /// Tells whether tokens that the key signed can still be good: it is not revoked, and the last of them has
    /// not expired for longer than clocks differ.
    #[must_use]
    pub fn is_published(&self, token_lifetime: TimeDelta, now: DateTime<Utc>) -> bool {
        /// How far the clocks of verifiers may be behind.
        const MARGIN: TimeDelta = TimeDelta::minutes(5);
        self.revoked_at.is_none()
            && self
                .retires_at
                .is_none_or(|retires_at| now < retires_at + token_lifetime + MARGIN)
    }
}

/// What shall happen to the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyChange {
    /// The newest key gets a successor if it has reached this age, or if there is none.
    RotateByAge(TimeDelta),
    /// The newest key gets a successor.
    Rotate,
    /// The key with this id is given up at once: nothing it signed is accepted any more.
    Revoke(String),
}

/// A change of the keys, with a new key for the case that one is needed.
#[derive(Debug, Clone)]
pub struct KeyRotation {
    /// What shall happen.
    pub change: KeyChange,
    /// A new key. Its times are set when it is used.
    pub candidate: SigningKeyRecord,
    /// How long a key is published before it signs: longer than anyone keeps the list of keys.
    pub lead: TimeDelta,
    /// The time of the change.
    pub now: DateTime<Utc>,
}

/// The rows that a change writes, in this order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyPlan {
    /// Keys that change.
    pub updated: Vec<SigningKeyRecord>,
    /// A key that is new.
    pub inserted: Option<SigningKeyRecord>,
}

impl KeyRotation {
    /// Decides what becomes of the keys; `None` if the key to revoke does not exist.
    #[must_use]
    pub fn plan(&self, keys: &[SigningKeyRecord]) -> Option<KeyPlan> {
        let newest = keys.iter().find(|key| key.retires_at.is_none());
        match (&self.change, newest) {
            (KeyChange::Revoke(kid), _) => self.revoke(keys, kid),
            (KeyChange::RotateByAge(_) | KeyChange::Rotate, None) => Some(KeyPlan {
                updated: Vec::new(),
                // Nobody has a list of keys yet that it would be missing from.
                inserted: Some(self.new_key(self.now)),
            }),
            (KeyChange::RotateByAge(age), Some(key)) if self.now < key.activates_at + *age => {
                Some(KeyPlan::default())
            }
            (KeyChange::RotateByAge(_) | KeyChange::Rotate, Some(key)) => {
                // A key that does not sign yet is not skipped.
                let handover = (self.now + self.lead).max(key.activates_at);
                Some(KeyPlan {
                    updated: vec![SigningKeyRecord {
                        retires_at: Some(handover),
                        ..key.clone()
                    }],
                    inserted: Some(self.new_key(handover)),
                })
            }
        }
    }

    fn revoke(&self, keys: &[SigningKeyRecord], kid: &str) -> Option<KeyPlan> {
        let revoked = keys.iter().find(|key| key.kid == kid)?;
        if revoked.revoked_at.is_some() {
            return Some(KeyPlan::default());
        }
        let mut plan = KeyPlan {
            updated: vec![SigningKeyRecord {
                revoked_at: Some(self.now),
                retires_at: Some(revoked.retires_at.unwrap_or(self.now).min(self.now)),
                ..revoked.clone()
            }],
            inserted: None,
        };
        let mut rest: Vec<&SigningKeyRecord> = keys
            .iter()
            .filter(|key| key.kid != kid && key.revoked_at.is_none())
            .filter(|key| key.retires_at.is_none_or(|retires_at| self.now < retires_at))
            .collect();
        if rest.is_empty() {
            plan.inserted = Some(self.new_key(self.now));
        }
        // What the key leaves open is closed: the one before it goes on until the next one signs, and if there is
        // none before it, the next one signs from now on.
        rest.sort_by_key(|key| key.activates_at);
        let successors = rest.iter().skip(1).map(|key| Some(key.activates_at));
        let mut earliest = Some(self.now);
        for (key, retires_at) in rest.iter().zip(successors.chain([None])) {
            let closed = SigningKeyRecord {
                activates_at: earliest.map_or(key.activates_at, |now| key.activates_at.min(now)),
                retires_at,
                ..(*key).clone()
            };
            if closed != **key {
                plan.updated.push(closed);
            }
            earliest = None;
        }
        Some(plan)
    }

    fn new_key(&self, activates_at: DateTime<Utc>) -> SigningKeyRecord {
        SigningKeyRecord {
            activates_at,
            retires_at: None,
            revoked_at: None,
            created_at: self.now,
            ..self.candidate.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};
    use proptest::prelude::{Just, Strategy, any, prop, prop_oneof, proptest};

    use super::{KeyChange, KeyRotation, SigningKeyRecord};

    const LEAD: TimeDelta = TimeDelta::minutes(10);

    fn candidate(number: usize) -> SigningKeyRecord {
        SigningKeyRecord {
            kid: format!("key{number}"),
            public_key: Vec::new(),
            private_key: Vec::new(),
            activates_at: DateTime::UNIX_EPOCH,
            retires_at: None,
            revoked_at: None,
            created_at: DateTime::UNIX_EPOCH,
        }
    }

    fn apply(keys: &mut Vec<SigningKeyRecord>, change: KeyChange, now: DateTime<Utc>) {
        let rotation = KeyRotation {
            change,
            candidate: candidate(keys.len()),
            lead: LEAD,
            now,
        };
        let plan = rotation.plan(keys).expect("the key exists");
        for updated in plan.updated {
            let place = keys.iter_mut().find(|key| key.kid == updated.kid);
            *place.expect("a key that is there") = updated;
        }
        keys.extend(plan.inserted);
    }

    fn active(keys: &[SigningKeyRecord], now: DateTime<Utc>) -> Vec<&str> {
        keys.iter()
            .filter(|key| key.is_active(now))
            .map(|key| key.kid.as_str())
            .collect()
    }

    #[test]
    fn a_successor_is_published_before_it_signs_and_the_old_key_after() {
        let start = DateTime::UNIX_EPOCH;
        let mut keys = Vec::new();
        apply(&mut keys, KeyChange::RotateByAge(TimeDelta::days(90)), start);
        assert_eq!(active(&keys, start), ["key0"]);
        apply(
            &mut keys,
            KeyChange::RotateByAge(TimeDelta::days(90)),
            start + TimeDelta::days(89),
        );
        assert_eq!(keys.len(), 1);

        let due = start + TimeDelta::days(90);
        apply(&mut keys, KeyChange::RotateByAge(TimeDelta::days(90)), due);
        assert_eq!(keys.len(), 2);
        assert_eq!(active(&keys, due), ["key0"]);
        assert_eq!(active(&keys, due + LEAD), ["key1"]);
        let lifetime = TimeDelta::minutes(5);
        assert!(
            keys.iter()
                .all(|key| key.is_published(lifetime, due + LEAD + lifetime))
        );
        assert!(!keys[0].is_published(lifetime, due + LEAD + TimeDelta::minutes(10)));
    }

    #[test]
    fn a_revoked_key_is_replaced_at_once() {
        let now = DateTime::UNIX_EPOCH;
        let mut keys = Vec::new();
        apply(&mut keys, KeyChange::Rotate, now);
        apply(&mut keys, KeyChange::Revoke("key0".to_owned()), now);
        assert_eq!(active(&keys, now), ["key1"]);
        assert!(!keys[0].is_published(TimeDelta::days(1), now));
    }

    proptest! {
        #[test]
        fn exactly_one_key_signs_whatever_happens(
            changes in prop::collection::vec(
                (
                    prop_oneof![
                        Just(None),
                        any::<prop::sample::Index>().prop_map(Some),
                    ],
                    0_i64..30,
                ),
                1..20,
            )
        ) {
            let mut now = DateTime::UNIX_EPOCH;
            let mut keys = Vec::new();
            apply(&mut keys, KeyChange::Rotate, now);
            for (revoked, minutes) in changes {
                now += TimeDelta::minutes(minutes);
                let change = match revoked {
                    None => KeyChange::Rotate,
                    Some(index) => KeyChange::Revoke(index.get(&keys).kid.clone()),
                };
                apply(&mut keys, change, now);
                assert_eq!(keys.iter().filter(|key| key.retires_at.is_none()).count(), 1, "{keys:?}");
                for later in 0..40 {
                    let at = now + TimeDelta::minutes(later);
                    assert_eq!(active(&keys, at).len(), 1, "at {at}: {keys:?}");
                }
            }
        }
    }
}
