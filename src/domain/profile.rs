//! What a user says about itself, and what a deployment asks for.

use std::collections::BTreeSet;

use super::{BirthDate, Email, FullName, Username};

/// The part of a user that the user itself knows best.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    /// The address of the user, unique.
    pub email: Option<Email>,
    /// The login name of the user, unique.
    pub username: Option<Username>,
    /// The name of the person.
    pub full_name: Option<FullName>,
    /// The date of birth.
    pub birth_date: Option<BirthDate>,
}

/// The fields of a [`Profile`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProfileField {
    /// [`Profile::email`].
    Email,
    /// [`Profile::username`].
    Username,
    /// [`Profile::full_name`].
    FullName,
    /// [`Profile::birth_date`].
    BirthDate,
}

impl ProfileField {
    /// Every field.
    pub const ALL: [Self; 4] = [Self::Email, Self::Username, Self::FullName, Self::BirthDate];

    /// The name of the field in the API and in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Username => "username",
            Self::FullName => "full_name",
            Self::BirthDate => "birth_date",
        }
    }

    /// Finds a field by its name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.name() == name)
    }
}

impl Profile {
    /// Tells whether a field has a value.
    #[must_use]
    pub const fn has(&self, field: ProfileField) -> bool {
        match field {
            ProfileField::Email => self.email.is_some(),
            ProfileField::Username => self.username.is_some(),
            ProfileField::FullName => self.full_name.is_some(),
            ProfileField::BirthDate => self.birth_date.is_some(),
        }
    }
}

/// What a user who is to be created lacks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MissingFields {
    /// The fields that the deployment asks for.
    pub required: Vec<ProfileField>,
    /// Whether there is no login name at all, though the deployment asks for no certain one.
    pub login_name: bool,
}

impl MissingFields {
    /// Finds out what is missing of the fields that are `required` and of a login name. `has` tells whether a field is
    /// given.
    #[must_use]
    pub fn find(required: &BTreeSet<ProfileField>, has: impl Fn(ProfileField) -> bool) -> Self {
        const LOGIN_NAMES: [ProfileField; 2] = [ProfileField::Email, ProfileField::Username];
        let is_asked_for = LOGIN_NAMES.iter().any(|field| required.contains(field));
        Self {
            required: required.iter().copied().filter(|field| !has(*field)).collect(),
            login_name: !is_asked_for && !LOGIN_NAMES.into_iter().any(has),
        }
    }

    /// Tells whether nothing is missing.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.required.is_empty() && !self.login_name
    }
}

/// New values for the fields of a profile: `None` leaves one alone, `Some(None)` clears it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProfileUpdate {
    /// The new email.
    pub email: Option<Option<Email>>,
    /// The new username.
    pub username: Option<Option<Username>>,
    /// The new name.
    pub full_name: Option<Option<FullName>>,
    /// The new date of birth.
    pub birth_date: Option<Option<BirthDate>>,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{MissingFields, ProfileField};

    fn missing(required: &[ProfileField], given: &[ProfileField]) -> (Vec<ProfileField>, bool) {
        let required: BTreeSet<ProfileField> = required.iter().copied().collect();
        let found = MissingFields::find(&required, |field| given.contains(&field));
        assert_eq!(found.is_none(), found == MissingFields::default());
        (found.required, found.login_name)
    }

    #[test]
    fn a_login_name_is_missing_unless_a_certain_one_is_asked_for() {
        use ProfileField::{BirthDate, Email, FullName, Username};
        assert_eq!(missing(&[], &[Email]), (vec![], false));
        assert_eq!(missing(&[], &[Username]), (vec![], false));
        assert_eq!(missing(&[], &[FullName]), (vec![], true));
        assert_eq!(missing(&[FullName], &[]), (vec![FullName], true));
        assert_eq!(missing(&[Email], &[Username]), (vec![Email], false));
        assert_eq!(missing(&[Email], &[]), (vec![Email], false));
        assert_eq!(
            missing(&[Email, BirthDate], &[Email, FullName]),
            (vec![BirthDate], false)
        );
    }
}
