//! Users as they are stored.

use std::collections::HashMap;

use crate::database::{Database, DatabaseError, read, shared_read, transaction};
use crate::domain::{
    AccountKey, Command, DeleteUser, Email, Identifier, ImportOutcome, ImportUsers,
    ImportedPasswordHash, ListUsers, ListUsersById, NewUser, PasswordHash, Refusal, Subject, UpdateUser,
    User, UserId, Username,
};
use crate::id_tokens::GOOGLE_ISSUER;

/// Reads and changes users. Cheap to clone.
#[derive(Clone)]
pub struct UserRepository {
    database: Database,
}

impl UserRepository {
    /// Makes a repository over a database.
    #[must_use]
    pub const fn new(database: Database) -> Self {
        Self { database }
    }

    /// Returns the user with an id.
    pub async fn get_by_id(&self, id: UserId) -> Result<User, DatabaseError> {
        let user: Option<User> = shared_read!(self.database, users_by_id, id)?;
        user.ok_or_else(|| Refusal::UserNotFound(id).into())
    }

    /// Returns the user with an email, compared in the normalised form.
    pub async fn get_by_email(&self, email: &Email) -> Result<Option<User>, DatabaseError> {
        shared_read!(self.database, users_by_email, email.normalized().to_owned())
    }

    /// Returns the user with a username, compared in the normalised form.
    pub async fn get_by_username(&self, username: &Username) -> Result<Option<User>, DatabaseError> {
        shared_read!(self.database, users_by_username, username.normalized().to_owned())
    }

    /// Returns the user that an account at a provider is linked with.
    pub async fn get_by_oauth_account(&self, key: AccountKey) -> Result<Option<User>, DatabaseError> {
        read!(self.database, oauth_accounts::get_user, key)
    }

    /// Returns the user with a Google account, by its id there: the claim `sub`.
    pub async fn get_by_google_id(&self, google_id: &Subject) -> Result<Option<User>, DatabaseError> {
        let key = AccountKey {
            issuer: GOOGLE_ISSUER.to_owned(),
            subject: google_id.clone(),
        };
        self.get_by_oauth_account(key).await
    }

    /// Returns the user with a login name, if it is somebody's.
    pub async fn get_by_identifier(
        &self,
        identifier: &Identifier,
    ) -> Result<Option<User>, DatabaseError> {
        match identifier {
            Identifier::Email(email) => self.get_by_email(email).await,
            Identifier::Username(username) => self.get_by_username(username).await,
            Identifier::Neither(_) => Ok(None),
        }
    }

    /// Returns the users with these ids, in the order of the ids; fails if one does not exist.
    pub async fn get_by_ids(&self, ids: Vec<UserId>) -> Result<Vec<User>, DatabaseError> {
        let by_id = self.find_by_ids(ids.clone()).await?;
        ids.into_iter()
            .map(|id| {
                by_id
                    .get(&id)
                    .cloned()
                    .ok_or_else(|| Refusal::UserNotFound(id).into())
            })
            .collect()
    }

    /// Returns a page of users.
    pub async fn list(&self, list: ListUsers) -> Result<Vec<User>, DatabaseError> {
        read!(self.database, users::list, list)
    }

    /// Returns those of the users that exist, by their ids.
    pub async fn find_by_ids(&self, ids: Vec<UserId>) -> Result<HashMap<UserId, User>, DatabaseError> {
        let found: Vec<User> = read!(self.database, users::get_by_ids, ids)?;
        Ok(found.into_iter().map(|user| (user.id, user)).collect())
    }

    /// Returns a page of users in the order of their ids.
    pub async fn list_by_id(&self, list: ListUsersById) -> Result<Vec<User>, DatabaseError> {
        read!(self.database, users::list_by_id, list)
    }

    /// Creates a user, once per request id.
    pub async fn create(&self, user: Command<NewUser>) -> Result<User, DatabaseError> {
        transaction!(self.database, users::create, user)
    }

    /// Changes a user, once per request id, and returns it as it is afterwards.
    pub async fn change(&self, update: Command<UpdateUser>) -> Result<User, DatabaseError> {
        transaction!(self.database, users::change, update)
    }

    /// Replaces the hash of a password by another one of the same password, unless the password was changed
    /// meanwhile. Tells whether it did.
    pub async fn rehash(
        &self,
        id: UserId,
        old: PasswordHash,
        new: PasswordHash,
    ) -> Result<bool, DatabaseError> {
        transaction!(self.database, users::rehash, (id, old, new))
    }

    /// Replaces the hash of a password that another system has computed by one of the same password, unless the password
    /// was changed meanwhile. Tells whether it did.
    pub async fn adopt_password(
        &self,
        id: UserId,
        imported: ImportedPasswordHash,
        new: PasswordHash,
    ) -> Result<bool, DatabaseError> {
        transaction!(self.database, users::adopt_password, (id, imported, new))
    }

    /// Creates users that come from another system, and tells what became of each. Those that are there already are
    /// left as they are.
    pub async fn import(
        &self,
        import: Command<ImportUsers>,
    ) -> Result<Vec<ImportOutcome>, DatabaseError> {
        transaction!(self.database, imports::run, import)
    }

    /// Deletes a user, once per request id.
    pub async fn delete(&self, deletion: Command<DeleteUser>) -> Result<(), DatabaseError> {
        transaction!(self.database, users::delete, deletion)
    }
}
