//! Linked accounts as they are stored.

use crate::database::{Database, DatabaseError, read, transaction};
use crate::domain::{
    AccountKey, Command, IdTokenDecision, IdTokenSignIn, LinkOAuthAccount, ListOAuthAccounts,
    NewLinkedUser, OAuthAccount, UnlinkOAuthAccount, User,
};

/// Links, finds and unlinks accounts. Cheap to clone.
#[derive(Clone)]
pub struct OAuthAccountRepository {
    database: Database,
}

impl OAuthAccountRepository {
    /// Makes a repository over a database.
    #[must_use]
    pub const fn new(database: Database) -> Self {
        Self { database }
    }

    /// Returns an account, if it is linked.
    pub async fn get(&self, key: AccountKey) -> Result<Option<OAuthAccount>, DatabaseError> {
        read!(self.database, oauth_accounts::get, key)
    }

    /// Returns a page of the accounts of a user, the oldest first.
    pub async fn list(&self, list: ListOAuthAccounts) -> Result<Vec<OAuthAccount>, DatabaseError> {
        read!(self.database, oauth_accounts::list, list)
    }

    /// Creates a user with a linked account, once per request id.
    pub async fn create_user(&self, user: Command<NewLinkedUser>) -> Result<User, DatabaseError> {
        transaction!(self.database, oauth_accounts::create_user, user)
    }

    /// Links an account, once per request id. Returns it and the user as they are afterwards.
    pub async fn link(
        &self,
        link: Command<LinkOAuthAccount>,
    ) -> Result<(OAuthAccount, User), DatabaseError> {
        transaction!(self.database, oauth_accounts::link, link)
    }

    /// Unlinks an account, once per request id, and returns the user as it is afterwards.
    pub async fn unlink(&self, unlink: Command<UnlinkOAuthAccount>) -> Result<User, DatabaseError> {
        transaction!(self.database, oauth_accounts::unlink, unlink)
    }

    /// Signs in whoever an ID token is about, or says why not.
    pub async fn sign_in(
        &self,
        sign_in: Command<IdTokenSignIn>,
    ) -> Result<IdTokenDecision, DatabaseError> {
        transaction!(self.database, oauth_accounts::sign_in, sign_in)
    }
}
