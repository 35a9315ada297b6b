//! Request ids: the same change, sent twice, happens once.

use std::fmt;
use std::sync::Arc;

use prost::Message;
use ring::hmac;
use zeroize::Zeroizing;

use super::call::CallContext;
use super::violations::Violations;
use crate::domain::{RequestRecord, parse_uuid};
use crate::master_key::{KeyPurpose, MasterKey};

/// Tells requests apart that have the same id.
///
/// A request can hold a password, so a plain digest of it would let whoever reads the database guess the
/// password fast. The digest is keyed.
#[derive(Clone)]
pub struct RequestFingerprints(Arc<hmac::Key>);

impl fmt::Debug for RequestFingerprints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestFingerprints([redacted])")
    }
}

impl RequestFingerprints {
    /// Derives the key.
    #[must_use]
    pub fn new(master_key: &MasterKey) -> Self {
        let key = master_key.derive(KeyPurpose::RequestFingerprints);
        Self(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, key.as_slice())))
    }

    /// Makes the record of a request, if its caller gave it an id.
    pub(super) fn record(
        &self,
        context: &CallContext,
        method: &'static str,
        request_id: &str,
        request: &impl Message,
        violations: &mut Violations,
    ) -> Option<RequestRecord> {
        if request_id.is_empty() {
            return None;
        }
        let request_id = violations.take("request_id", parse_uuid(request_id))?;
        let encoded = Zeroizing::new(request.encode_to_vec());
        let tag = hmac::sign(&self.0, &encoded);
        Some(RequestRecord {
            caller: context.caller.actor().to_string(),
            method,
            request_id,
            fingerprint: tag.as_ref().try_into().ok()?,
            now: context.now,
        })
    }
}
