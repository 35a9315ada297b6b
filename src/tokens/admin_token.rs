//! The token of the administrator on the embedded database, in a file beside it.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use super::{SecretToken, ServiceTokens, TokenError};
use crate::database::DatabaseError;
use crate::domain::{Scope, Scopes, ServiceName};
use crate::repositories::ServiceTokenRepository;

/// The name of the file in the data folder.
const FILE_NAME: &str = "admin.token";

/// The service under which changes with this token are on record.
const SERVICE: &str = "admin";

/// Why there is no token of the administrator.
#[derive(Debug, thiserror::Error)]
pub enum AdminTokenError {
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The token cannot be made.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The file cannot be written, or is not one with a token.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        error: String,
    },
}

/// Returns where the token is.
#[must_use]
pub fn admin_token_path(data_dir: &Path) -> PathBuf {
    data_dir.join(FILE_NAME)
}

/// Makes the first service token, with every scope, and writes it to a file that nobody else can read. Does nothing if
/// there is a service token already, whatever became of the file. Tells whether it made one.
///
/// # Errors
/// The database fails, or the file cannot be written.
pub async fn make_admin_token(
    repository: &ServiceTokenRepository,
    data_dir: &Path,
    now: DateTime<Utc>,
) -> Result<bool, AdminTokenError> {
    if !repository.list_with_hashes().await?.is_empty() {
        return Ok(false);
    }
    let name = ServiceName::from_stored(SERVICE.to_owned());
    let scopes: Scopes = [Scope::ADMIN].into_iter().collect();
    let (secret, _) = ServiceTokens::issue(name.clone(), scopes.clone(), None, now)?;
    // The file first: a token that is stored and written nowhere would be of no use to anybody.
    let path = admin_token_path(data_dir);
    let written = write(&path, secret).map_err(|error| AdminTokenError::File {
        error: error.to_string(),
        path,
    })?;
    let new = ServiceTokens::known(&written, name, scopes, None, now);
    Ok(repository.create_first(new).await?)
}

/// Writes a token to a file, unless there is one in it. Returns the token that is in the file.
fn write(path: &Path, secret: SecretToken) -> std::io::Result<SecretToken> {
    let draft = path.with_extension(format!("{}.draft", std::process::id()));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)?;
    writeln!(file, "{}", secret.reveal())?;
    file.sync_all()?;
    // Of several processes that start at once, one makes the file, and all of them mean the same token.
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    match linked {
        Ok(()) => Ok(secret),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let text = fs::read_to_string(path)?;
            let present = SecretToken::new(text.trim().to_owned());
            if ServiceTokens::is_well_formed(present.reveal()) {
                Ok(present)
            } else {
                Err(std::io::Error::new(
                    ErrorKind::InvalidData,
                    "the file is there, and is not one with a token",
                ))
            }
        }
        Err(error) => Err(error),
    }
}
