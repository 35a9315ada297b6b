//! Ids that follow from what they are for, so that who asks again finds what is there already.

use std::fmt;
use std::sync::Arc;

use ring::hmac;

use crate::domain::UserId;
use crate::master_key::{KeyPurpose, MasterKey};

/// Makes ids of users. Nobody without the key can guess one. Cheap to clone.
#[derive(Clone)]
pub struct DerivedIds(Arc<hmac::Key>);

impl fmt::Debug for DerivedIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DerivedIds([redacted])")
    }
}

impl DerivedIds {
    /// Derives the key.
    #[must_use]
    pub fn new(master_key: &MasterKey) -> Self {
        let key = master_key.derive(KeyPurpose::DerivedIds);
        Self(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, key.as_slice())))
    }

    /// Returns the id that follows from texts without NUL: always the same one for the same texts.
    #[must_use]
    pub fn user_id(&self, texts: &[&str]) -> UserId {
        let text = texts.join("\0");
        UserId::from_tag(hmac::sign(&self.0, text.as_bytes()).as_ref())
    }
}
