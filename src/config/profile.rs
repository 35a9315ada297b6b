//! Profiles: `IDENTITY_REQUIRED_PROFILE_FIELDS`.

use std::collections::BTreeSet;

use super::variable::{Reader, Variable};
use crate::domain::ProfileField;

const REQUIRED_FIELDS: Variable = Variable::new(
    "IDENTITY_REQUIRED_PROFILE_FIELDS",
    "",
    "What every user must have, of email, username, full_name and birth_date, separated by commas",
);

pub(super) const VARIABLES: &[Variable] = &[REQUIRED_FIELDS];

/// What a profile must have beyond an email or a username.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProfileSettings {
    /// The fields that every user must have.
    pub required: BTreeSet<ProfileField>,
}

impl ProfileSettings {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let required = reader.parse(&REQUIRED_FIELDS, |text| {
            text.split(',')
                .map(str::trim)
                .filter(|name| !name.is_empty())
                .map(|name| {
                    ProfileField::from_name(name).ok_or_else(|| {
                        "must be names of email, username, full_name and birth_date".to_owned()
                    })
                })
                .collect()
        });
        Some(Self { required: required? })
    }
}
