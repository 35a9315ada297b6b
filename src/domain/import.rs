//! Users that come from another system, with the passwords they have there.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::{
    AuthProvider, BirthDate, BlockReason, Email, ForeignPasswordHash, FullName, Invalid, MissingFields,
    Profile, ProfileField, User, UserId, Username,
};

/// A user as somebody brings it along: nothing of it has been looked at yet.
#[derive(Debug, Clone)]
pub struct ImportRecord {
    /// The id it gets, a UUID of version 4 or 7; a new one if empty.
    pub user_id: String,
    /// The email; none if empty.
    pub email: String,
    /// Whether the email is known to belong to the user.
    pub email_verified: bool,
    /// The username; none if empty.
    pub username: String,
    /// The name; none if empty.
    pub full_name: String,
    /// The date of birth, or why it is none.
    pub birth_date: Result<Option<BirthDate>, Invalid>,
    /// Whether the user is switched on.
    pub is_active: bool,
    /// Whether the user is kept out.
    pub is_blocked: bool,
    /// Why; nothing if empty.
    pub block_reason: String,
    /// When the user was created there, or why that is no time; now if not given.
    pub created_at: Result<Option<DateTime<Utc>>, Invalid>,
    /// The hash of the password, or why it is none.
    pub password: Result<Option<ForeignPasswordHash>, Invalid>,
}

/// What is wrong with one user of an import.
pub type ImportMistakes = Vec<(&'static str, Invalid)>;

impl ImportRecord {
    /// Returns the user, or everything that is wrong with it. `generate` makes the id of one that brings none.
    pub fn into_user(
        self,
        required: &BTreeSet<ProfileField>,
        generate: impl FnOnce() -> UserId,
        now: DateTime<Utc>,
    ) -> Result<User, ImportMistakes> {
        let mut mistakes = ImportMistakes::new();
        let user_id = optional(&mut mistakes, "user_id", &self.user_id, UserId::parse_chosen);
        let email = optional(&mut mistakes, "email", &self.email, Email::parse);
        let username = optional(&mut mistakes, "username", &self.username, Username::parse);
        let full_name = optional(&mut mistakes, "full_name", &self.full_name, FullName::parse);
        let block_reason = optional(
            &mut mistakes,
            "block_reason",
            &self.block_reason,
            BlockReason::parse,
        );
        let birth_date = take(&mut mistakes, "birth_date", self.birth_date);
        let created_at = take(&mut mistakes, "create_time", self.created_at);
        let password = take(&mut mistakes, "password_hash", self.password);
        // What is given and wrong is not missing.
        let is_given = |field: ProfileField| match field {
            ProfileField::Email => !self.email.is_empty(),
            ProfileField::Username => !self.username.is_empty(),
            ProfileField::FullName => !self.full_name.is_empty(),
            ProfileField::BirthDate => birth_date != Some(None),
        };
        let missing = MissingFields::find(required, is_given);
        for field in missing.required {
            mistakes.push((field.name(), Invalid::required("must be given")));
        }
        if missing.login_name {
            let text = "a user needs an email or a username";
            mistakes.push(("email", Invalid::required(text)));
        }
        if self.email_verified && self.email.is_empty() {
            let text = "must not be set without an email";
            mistakes.push(("email_verified", Invalid::format(text)));
        }
        if !self.block_reason.is_empty() && !self.is_blocked {
            let text = "must not be given for a user who is not blocked";
            mistakes.push(("block_reason", Invalid::format(text)));
        }
        if created_at.flatten().is_some_and(|created_at| created_at > now) {
            mistakes.push(("create_time", Invalid::format("must not be in the future")));
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let created_at = created_at.flatten().unwrap_or(now);
        let (password_hash, imported_password) = match password.flatten() {
            None => (None, None),
            Some(ForeignPasswordHash::Bcrypt(hash)) => (Some(hash), None),
            Some(ForeignPasswordHash::Other(hash)) => (None, Some(hash)),
        };
        let has_password = password_hash.is_some() || imported_password.is_some();
        Ok(User {
            id: user_id.flatten().unwrap_or_else(generate),
            profile: Profile {
                email: email.flatten(),
                username: username.flatten(),
                full_name: full_name.flatten(),
                birth_date: birth_date.flatten(),
            },
            email_verified_at: self.email_verified.then_some(now),
            password_changed_at: has_password.then_some(created_at),
            // The other hashes are a credential of this service once they have let somebody in.
            auth_provider: password_hash.as_ref().map(|_| AuthProvider::Password),
            password_hash,
            imported_password,
            is_active: self.is_active,
            is_blocked: self.is_blocked,
            block_reason: block_reason.flatten(),
            tokens_valid_after: None,
            version: 1,
            created_at,
            updated_at: now,
        })
    }
}

fn take<T>(
    mistakes: &mut ImportMistakes,
    field: &'static str,
    value: Result<Option<T>, Invalid>,
) -> Option<Option<T>> {
    value.map_err(|invalid| mistakes.push((field, invalid))).ok()
}

fn optional<T>(
    mistakes: &mut ImportMistakes,
    field: &'static str,
    text: &str,
    parse: impl FnOnce(&str) -> Result<T, Invalid>,
) -> Option<Option<T>> {
    let value = if text.is_empty() {
        Ok(None)
    } else {
        parse(text).map(Some)
    };
    take(mistakes, field, value)
}

/// Users to import, which are valid.
#[derive(Debug, Clone)]
pub struct ImportUsers {
    /// The users.
    pub users: Vec<User>,
}

/// What became of one user of an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportOutcome {
    /// The user was created.
    Created,
    /// The user with this id and these login names was there already.
    Unchanged,
    /// Another user has the email.
    EmailTaken,
    /// Another user has the username.
    UsernameTaken,
    /// Another user has the id.
    UserIdTaken,
}
