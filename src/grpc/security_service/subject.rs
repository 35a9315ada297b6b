//! Whose lockout is asked about.

use super::Security;
use crate::domain::{Identifier, LockoutSubject, UserId};
use crate::grpc::error::ApiError;

impl Security {
    /// Returns what the attempts of somebody are counted under, and whose they are if it is a user.
    pub(super) async fn subject(
        &self,
        subject: &LockoutSubject,
    ) -> Result<([u8; 32], Option<UserId>), ApiError> {
        match subject {
            LockoutSubject::User(id) => {
                let user = self.users.get_by_id(*id).await?;
                Ok((self.lockouts.subject_of_user(user.id), Some(user.id)))
            }
            LockoutSubject::Identifier(identifier) => self.subject_of_identifier(identifier).await,
        }
    }

    async fn subject_of_identifier(
        &self,
        identifier: &Identifier,
    ) -> Result<([u8; 32], Option<UserId>), ApiError> {
        let user = self.users.get_by_identifier(identifier).await?;
        Ok(match user {
            Some(user) => (self.lockouts.subject_of_user(user.id), Some(user.id)),
            None => (self.lockouts.subject_of_stranger(identifier), None),
        })
    }
}
