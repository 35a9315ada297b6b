//! Users and what can happen to them.

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    BlockReason, EmailPrefix, Etag, ImportedPasswordHash, ListPosition, PasswordHash, Profile,
    ProfileUpdate, Refusal, SessionEndReason, SessionId, UserEventType, UserField, UserId,
    VerifiedPassword,
};

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Identifies the user.
    pub id: UserId,
    /// What the user says about itself.
    pub profile: Profile,
    /// When the email was confirmed to belong to the user.
    pub email_verified_at: Option<DateTime<Utc>>,
    /// The hash of the password, if one is set.
    pub password_hash: Option<PasswordHash>,
    /// The hash of the password that another system has computed, until the user signs in with it for the first time.
    pub imported_password: Option<ImportedPasswordHash>,
    /// When the password was last set.
    pub password_changed_at: Option<DateTime<Utc>>,
    /// How the account began, once it has a credential; what it still has, if that credential was taken away.
    pub auth_provider: Option<AuthProvider>,
    /// False after a soft delete.
    pub is_active: bool,
    /// True while an administrator keeps the user out.
    pub is_blocked: bool,
    /// Why the user is blocked.
    pub block_reason: Option<BlockReason>,
    /// Access tokens issued before this time are not accepted.
    pub tokens_valid_after: Option<DateTime<Utc>>,
    /// Counts the changes, from 1.
    pub version: i64,
    /// When the user was created.
    pub created_at: DateTime<Utc>,
    /// When the user was last changed.
    pub updated_at: DateTime<Utc>,
}

/// How an account began: what its first credential was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthProvider {
    /// A password.
    Password,
    /// A Google account.
    Google,
    /// An Apple account.
    Apple,
    /// An account at another OpenID Connect issuer.
    Oidc,
}

/// A user about to be created.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// The id the user gets.
    pub id: UserId,
    /// The profile; it has an email or a username.
    pub profile: Profile,
    /// The hash of the password, if the user gets one.
    pub password_hash: Option<PasswordHash>,
    /// The time of creation.
    pub created_at: DateTime<Utc>,
}

impl NewUser {
    /// Returns the user that this creates.
    #[must_use]
    pub fn into_user(self) -> User {
        User {
            id: self.id,
            profile: self.profile,
            email_verified_at: None,
            password_changed_at: self.password_hash.as_ref().map(|_| self.created_at),
            auth_provider: self.password_hash.as_ref().map(|_| AuthProvider::Password),
            password_hash: self.password_hash,
            imported_password: None,
            is_active: true,
            is_blocked: false,
            block_reason: None,
            tokens_valid_after: None,
            version: 1,
            created_at: self.created_at,
            updated_at: self.created_at,
        }
    }
}

/// Something that happens to a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserChange {
    /// Fields of the profile get new values.
    UpdateProfile(ProfileUpdate),
    /// The user is switched off.
    Deactivate,
    /// The user is switched on again.
    Reactivate,
    /// The user is kept out, for a reason.
    Block(Option<BlockReason>),
    /// The user is let in again.
    Unblock,
    /// The user gets a password.
    SetPassword(NewPassword),
    /// The user loses its password.
    RemovePassword {
        /// What the oldest account is that is linked with the user, who signs in with it from then on.
        instead: Option<AuthProvider>,
    },
    /// The user gets an account of this kind linked.
    LinkOAuthAccount(AuthProvider),
    /// The user loses a linked account.
    UnlinkOAuthAccount {
        /// What the oldest account is that is left.
        instead: Option<AuthProvider>,
    },
    /// The email was confirmed to belong to the user.
    VerifyEmail,
}

/// A password that a user gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPassword {
    /// Its hash.
    pub hash: PasswordHash,
    /// The password that the user must have until then; any if `None`.
    pub replaces: Option<VerifiedPassword>,
    /// The session that goes on.
    pub kept_session: Option<SessionId>,
    /// How the user comes to it.
    pub occasion: PasswordOccasion,
}

/// How a user comes to a new password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordOccasion {
    /// A service sets it.
    Set,
    /// The user changes the one it has.
    Changed,
    /// The user has a token that lets it choose a new one.
    Reset,
}

impl UserChange {
    /// Tells whether, and why, the change ends the sessions of the user.
    #[must_use]
    pub const fn ends_sessions(&self) -> Option<SessionEndReason> {
        match self {
            Self::Deactivate => Some(SessionEndReason::UserDeactivated),
            Self::Block(_) => Some(SessionEndReason::UserBlocked),
            Self::SetPassword(_) | Self::RemovePassword { .. } => {
                Some(SessionEndReason::PasswordChanged)
            }
            Self::UpdateProfile(_)
            | Self::Reactivate
            | Self::Unblock
            | Self::VerifyEmail
            | Self::LinkOAuthAccount(_)
            | Self::UnlinkOAuthAccount { .. } => None,
        }
    }

    /// Returns the session that goes on, if the change ends the others only.
    #[must_use]
    pub const fn kept_session(&self) -> Option<SessionId> {
        match self {
            Self::SetPassword(password) => password.kept_session,
            Self::UpdateProfile(_)
            | Self::Deactivate
            | Self::Reactivate
            | Self::Block(_)
            | Self::Unblock
            | Self::RemovePassword { .. }
            | Self::VerifyEmail
            | Self::LinkOAuthAccount(_)
            | Self::UnlinkOAuthAccount { .. } => None,
        }
    }

    /// Tells whether it is a change of the accounts of the user, which changes something even if all that the row of the
    /// user says stays as it is.
    const fn is_of_accounts(&self) -> bool {
        matches!(self, Self::LinkOAuthAccount(_) | Self::UnlinkOAuthAccount { .. })
    }

    /// Returns what the event of the change calls it.
    #[must_use]
    pub const fn event_type(&self) -> UserEventType {
        match self {
            Self::UpdateProfile(_) => UserEventType::UserUpdated,
            Self::Deactivate => UserEventType::UserDeactivated,
            Self::Reactivate => UserEventType::UserReactivated,
            Self::Block(_) => UserEventType::UserBlocked,
            Self::Unblock => UserEventType::UserUnblocked,
            Self::SetPassword(password) => match password.occasion {
                PasswordOccasion::Set => UserEventType::PasswordSet,
                PasswordOccasion::Changed => UserEventType::PasswordChanged,
                PasswordOccasion::Reset => UserEventType::PasswordReset,
            },
            Self::RemovePassword { .. } => UserEventType::PasswordRemoved,
            Self::VerifyEmail => UserEventType::EmailVerified,
            Self::LinkOAuthAccount(_) => UserEventType::OAuthAccountLinked,
            Self::UnlinkOAuthAccount { .. } => UserEventType::OAuthAccountUnlinked,
        }
    }
}

impl User {
    /// Returns where the user is in a list.
    #[must_use]
    pub const fn position(&self) -> ListPosition {
        ListPosition {
            created_at: self.created_at,
            id: self.id.uuid(),
        }
    }

    /// Returns the etag of this version.
    #[must_use]
    pub fn etag(&self) -> Etag {
        Etag::of(self.id, self.version)
    }

    /// Returns the user after `change` at the time `now`, or `None` if it changes nothing.
    ///
    /// A change counts the version up and moves `updated_at` forward, even if the clock stepped back.
    pub fn after(&self, change: &UserChange, now: DateTime<Utc>) -> Result<Option<Self>, Refusal> {
        let mut user = self.clone();
        match change {
            UserChange::UpdateProfile(update) => user.update_profile(update)?,
            UserChange::Deactivate => user.is_active = false,
            UserChange::Reactivate => user.is_active = true,
            UserChange::Block(reason) => {
                user.is_blocked = true;
                user.block_reason.clone_from(reason);
            }
            UserChange::Unblock => {
                user.is_blocked = false;
                user.block_reason = None;
            }
            UserChange::SetPassword(password) => user.set_password(password, now)?,
            UserChange::RemovePassword { instead } => user.remove_password(*instead)?,
            UserChange::LinkOAuthAccount(kind) => {
                // Whoever has brought a password along has begun with that, used or not.
                if user.began_with().is_none() {
                    user.auth_provider = Some(*kind);
                }
            }
            UserChange::UnlinkOAuthAccount { instead } => user.unlink_account(*instead)?,
            UserChange::VerifyEmail => {
                user.email_verified_at = user.email_verified_at.or(Some(now));
            }
        }
        if user == *self && !change.is_of_accounts() {
            return Ok(None);
        }
        if change.ends_sessions().is_some() {
            user.tokens_valid_after = Some(now);
        }
        user.version = self.version.saturating_add(1);
        user.updated_at = self.next_change_at(now);
        Ok(Some(user))
    }

    /// Returns when something happens to the user that happens now: after everything before, even if the clock stepped
    /// back.
    #[must_use]
    pub fn next_change_at(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        now.max(self.updated_at + TimeDelta::microseconds(1))
    }

    /// Returns in which fields the user has other values than `before` a change of its profile. What other changes
    /// change, their names say.
    #[must_use]
    pub fn fields_changed_by(&self, change: &UserChange, before: &Self) -> Vec<UserField> {
        if !matches!(change, UserChange::UpdateProfile(_)) {
            return Vec::new();
        }
        let (new, old) = (&self.profile, &before.profile);
        UserField::ALL
            .into_iter()
            .filter(|field| match field {
                UserField::Email => new.email != old.email,
                UserField::Username => new.username != old.username,
                UserField::FullName => new.full_name != old.full_name,
                UserField::BirthDate => new.birth_date != old.birth_date,
                UserField::EmailVerified => {
                    self.email_verified_at.is_some() != before.email_verified_at.is_some()
                }
            })
            .collect()
    }

    /// Gives the user a hash of the password that it has brought along: the credential it has begun with, if it has no
    /// other.
    pub(crate) fn adopt_password(&mut self, hash: PasswordHash) {
        self.password_hash = Some(hash);
        self.imported_password = None;
        self.auth_provider = self.auth_provider.or(Some(AuthProvider::Password));
    }

    /// Tells whether there is a password that the user can sign in with.
    #[must_use]
    pub const fn has_password(&self) -> bool {
        self.password_hash.is_some() || self.imported_password.is_some()
    }

    /// Returns how the account began: also before a password that it has brought along was used.
    #[must_use]
    pub fn began_with(&self) -> Option<AuthProvider> {
        let brought_along = self.imported_password.as_ref().map(|_| AuthProvider::Password);
        self.auth_provider.or(brought_along)
    }

    /// Refuses whoever is blocked or inactive.
    pub fn check_state(&self) -> Result<(), Refusal> {
        if self.is_blocked {
            Err(Refusal::UserBlocked(self.id))
        } else if self.is_active {
            Ok(())
        } else {
            Err(Refusal::UserInactive(self.id))
        }
    }

    /// Tells whether the user has the same password as when it was verified. Its hash may be another one by now,
    /// because weak hashes are replaced in the background.
    #[must_use]
    pub fn still_has(&self, verified: &VerifiedPassword) -> bool {
        let is_set_then =
            self.password_changed_at.is_some() && self.password_changed_at == verified.changed_at;
        self.password_hash.as_ref() == Some(&verified.hash) || (self.has_password() && is_set_then)
    }

    fn set_password(&mut self, password: &NewPassword, now: DateTime<Utc>) -> Result<(), Refusal> {
        if password
            .replaces
            .as_ref()
            .is_some_and(|replaced| !self.still_has(replaced))
        {
            return Err(Refusal::InvalidCredentials);
        }
        // Never the same time twice: it tells one password from the next.
        let not_before = self
            .password_changed_at
            .map(|time| time + TimeDelta::microseconds(1));
        self.password_hash = Some(password.hash.clone());
        self.imported_password = None;
        self.password_changed_at = Some(not_before.map_or(now, |time| time.max(now)));
        self.auth_provider = self.auth_provider.or(Some(AuthProvider::Password));
        Ok(())
    }

    /// Takes the password away, unless it is all that the user has.
    fn remove_password(&mut self, instead: Option<AuthProvider>) -> Result<(), Refusal> {
        if !self.has_password() {
            return Ok(());
        }
        let left = instead.ok_or(Refusal::LastCredential(self.id))?;
        if self.began_with() == Some(AuthProvider::Password) {
            self.auth_provider = Some(left);
        }
        self.password_hash = None;
        self.imported_password = None;
        self.password_changed_at = None;
        Ok(())
    }

    /// Sees to it that a way to sign in is left when an account is taken away.
    fn unlink_account(&mut self, instead: Option<AuthProvider>) -> Result<(), Refusal> {
        let password = self.has_password().then_some(AuthProvider::Password);
        let left = instead.or(password).ok_or(Refusal::LastCredential(self.id))?;
        let began_with = self.began_with();
        if began_with != instead && began_with != password {
            self.auth_provider = Some(left);
        }
        Ok(())
    }

    fn update_profile(&mut self, update: &ProfileUpdate) -> Result<(), Refusal> {
        let old_email = self
            .profile
            .email
            .as_ref()
            .map(|email| email.normalized().to_owned());
        if let Some(email) = &update.email {
            self.profile.email.clone_from(email);
        }
        if let Some(username) = &update.username {
            self.profile.username.clone_from(username);
        }
        if let Some(full_name) = &update.full_name {
            self.profile.full_name.clone_from(full_name);
        }
        if let Some(birth_date) = update.birth_date {
            self.profile.birth_date = birth_date;
        }
        let new_email = self
            .profile
            .email
            .as_ref()
            .map(|email| email.normalized().to_owned());
        if new_email != old_email {
            self.email_verified_at = None;
        }
        if self.profile.email.is_none() && self.profile.username.is_none() {
            return Err(Refusal::IdentifierRequired);
        }
        Ok(())
    }
}

/// Which users a list is narrowed to; every condition that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserFilter {
    /// Created at this time or later.
    pub created_from: Option<DateTime<Utc>>,
    /// Created before this time.
    pub created_before: Option<DateTime<Utc>>,
    /// Active, or not.
    pub is_active: Option<bool>,
    /// Blocked, or not.
    pub is_blocked: Option<bool>,
    /// With an email that begins like this.
    pub email_prefix: Option<EmailPrefix>,
}

/// The order of a list; ties are in the order of ids.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UserOrder {
    /// The oldest first.
    #[default]
    CreatedAt,
    /// The newest first.
    CreatedAtDescending,
}
