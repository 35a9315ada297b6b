//! What the RPCs that set a password have in common.

use super::Credentials;
use crate::domain::{Password, Profile, RequestRecord, User};
use crate::grpc::convert;
use crate::grpc::error::ApiError;
use crate::grpc::violations::Violations;

impl Credentials {
    /// Accepts a new password as far as that can be told without knowing whose it will be, so that every violation is
    /// reported at once.
    pub(super) fn stranger_password(
        &self,
        field: &str,
        text: &str,
        violations: &mut Violations,
    ) -> Option<Password> {
        convert::new_password(field, text, self.password_policy, &Profile::default(), violations)
    }

    /// Accepts a new password of a user.
    pub(super) fn password_of(
        &self,
        field: &str,
        text: &str,
        user: &User,
    ) -> Result<Password, ApiError> {
        let mut violations = Violations::default();
        let password =
            convert::new_password(field, text, self.password_policy, &user.profile, &mut violations);
        Ok(violations.finish(password)?)
    }

    /// Tells whether a request was carried out before. Then nothing is hashed again.
    pub(super) async fn is_repeated(&self, record: Option<&RequestRecord>) -> Result<bool, ApiError> {
        match record {
            Some(record) => Ok(self.request_ids.find(record.clone()).await?.is_some()),
            None => Ok(false),
        }
    }

    /// Returns the user that a request was about that was carried out before.
    pub(super) async fn user_of_repeated(
        &self,
        record: Option<&RequestRecord>,
    ) -> Result<Option<User>, ApiError> {
        let Some(record) = record else {
            return Ok(None);
        };
        match self.request_ids.find(record.clone()).await? {
            Some(id) => Ok(Some(self.users.get_by_id(id).await?)),
            None => Ok(None),
        }
    }
}
