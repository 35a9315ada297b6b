//! The master key: `IDENTITY_MASTER_KEY`, `IDENTITY_MASTER_KEY_FILE`.

use std::path::PathBuf;

use zeroize::Zeroizing;

use super::variable::{Reader, Variable};
use crate::master_key::{MasterKey, MasterKeySource};

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

pub(super) fn read(reader: &mut Reader<'_>) -> Option<MasterKeySource> {
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
        (Some(key), None) => Some(MasterKeySource::Given(key)),
        (None, Some(file)) => Some(MasterKeySource::File(file)),
        (None, None) => Some(MasterKeySource::Generated),
    }
}
