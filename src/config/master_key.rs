//! The master key: `IDENTITY_MASTER_KEY`, `IDENTITY_MASTER_KEY_FILE`.

use std::fmt;
use std::path::PathBuf;

use zeroize::Zeroizing;

use super::variable::{Reader, Variable};
use crate::master_key::MasterKey;

const KEY: Variable = Variable::secret(
    "IDENTITY_MASTER_KEY",
    "32 random bytes in base64, as `openssl rand -base64 32` prints them; generated on the embedded default",
);
const KEY_FILE: Variable = Variable::new(
    "IDENTITY_MASTER_KEY_FILE",
    "",
    "A file with the master key, for secrets that are mounted as files",
);

pub(super) const VARIABLES: &[Variable] = &[KEY, KEY_FILE];

/// Where the master key comes from.
#[derive(Clone)]
pub enum MasterKeySettings {
    /// From the setting itself, already checked.
    Given(Zeroizing<String>),
    /// From a file.
    File(PathBuf),
    /// From a file in the data folder, made on the first start; only on the embedded database.
    Generated,
}

impl fmt::Debug for MasterKeySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(_) => f.write_str("Given([redacted])"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Generated => f.write_str("Generated"),
        }
    }
}

impl MasterKeySettings {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let key = reader.parse_optional(&KEY, |text| {
            MasterKey::parse(text)
                .map(|_| Zeroizing::new(text.to_owned()))
                .map_err(|error| error.to_string())
        });
        let file = reader.parse_optional(&KEY_FILE, |text| Ok(PathBuf::from(text)));
        match (key?, file?) {
            (Some(_), Some(_)) => {
                reader.note(&KEY_FILE, &format!("cannot be given together with {}", KEY.name));
                None
            }
            (Some(key), None) => Some(Self::Given(key)),
            (None, Some(file)) => Some(Self::File(file)),
            (None, None) => Some(Self::Generated),
        }
    }
}
