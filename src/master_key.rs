//! The master key: the one secret from which every other key is derived.
//!
//! Keys for different purposes are derived with HKDF-SHA-256 (RFC 5869) under different labels, so that
//! knowing one tells nothing about another.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

/// The name of the generated key in the data folder.
const FILE_NAME: &str = "master.key";

/// The length of the master key and of every key derived from it: as strong as SHA-256.
const KEY_BYTES: usize = 32;

/// The master key. Erased from memory when dropped; its `Debug` prints nothing of it.
pub struct MasterKey(Zeroizing<[u8; KEY_BYTES]>);

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey([redacted])")
    }
}

/// Where the master key comes from.
#[derive(Clone)]
pub enum MasterKeySource {
    /// From the settings, already checked.
    Given(Zeroizing<String>),
    /// From a file.
    File(PathBuf),
    /// From a file in the data folder, made on the first start; only on the embedded database.
    Generated,
}

impl fmt::Debug for MasterKeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(_) => f.write_str("Given([redacted])"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Generated => f.write_str("Generated"),
        }
    }
}

/// Why there is no master key.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    /// It does not have the right form.
    #[error("must be 32 random bytes in base64, as `openssl rand -base64 32` prints them")]
    Malformed,
    /// The file cannot be read or written.
    #[error("IDENTITY_MASTER_KEY_FILE: {path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        error: String,
    },
    /// Others on the machine can read the file.
    #[error("IDENTITY_MASTER_KEY_FILE: {0} can be read by everyone on this machine; chmod 600 it")]
    Exposed(PathBuf),
    /// Nothing was configured, and the database is not the embedded one.
    #[error(
        "IDENTITY_MASTER_KEY: is required with PostgreSQL, the same on every replica; make one with \
         `openssl rand -base64 32`"
    )]
    Missing,
}

/// What a derived key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyPurpose {
    /// Encrypts page tokens.
    PageTokens,
    /// Encrypts resume tokens.
    ResumeTokens,
    /// Tells requests with the same request id apart.
    RequestFingerprints,
    /// Authenticates refresh tokens.
    RefreshTokens,
    /// Encrypts signing keys.
    SigningKeys,
    /// Hides whom failed attempts are counted for.
    Lockouts,
    /// Makes ids that follow from what they are for.
    DerivedIds,
}

impl KeyPurpose {
    /// The label of the key. A label that has been released is never changed.
    const fn label(self) -> &'static [u8] {
        match self {
            Self::PageTokens => b"identity/v1/page-tokens",
            Self::ResumeTokens => b"identity/v1/resume-tokens",
            Self::RequestFingerprints => b"identity/v1/request-fingerprints",
            Self::RefreshTokens => b"identity/v1/refresh-tokens",
            Self::SigningKeys => b"identity/v1/signing-keys",
            Self::Lockouts => b"identity/v1/lockouts",
            Self::DerivedIds => b"identity/v1/derived-ids",
        }
    }
}

impl MasterKey {
    /// Finds the key, or makes one in `data_dir` if that is allowed and there is none yet.
    pub fn load(
        source: &MasterKeySource,
        data_dir: &Path,
        is_embedded: bool,
    ) -> Result<Self, MasterKeyError> {
        match source {
            MasterKeySource::Given(text) => Self::parse(text),
            MasterKeySource::File(path) => Self::read(path),
            MasterKeySource::Generated if is_embedded => Self::generate(&data_dir.join(FILE_NAME)),
            MasterKeySource::Generated => Err(MasterKeyError::Missing),
        }
    }

    /// Parses the base64 form of a key.
    pub fn parse(text: &str) -> Result<Self, MasterKeyError> {
        let bytes = Zeroizing::new(
            STANDARD
                .decode(text.trim())
                .map_err(|_| MasterKeyError::Malformed)?,
        );
        let key: [u8; KEY_BYTES] = bytes
            .as_slice()
            .try_into()
            .map_err(|_| MasterKeyError::Malformed)?;
        // A key of one repeated byte is a placeholder that somebody forgot to replace.
        let [first, rest @ ..] = &key;
        if rest.iter().all(|byte| byte == first) {
            return Err(MasterKeyError::Malformed);
        }
        Ok(Self(Zeroizing::new(key)))
    }

    fn read(path: &Path) -> Result<Self, MasterKeyError> {
        /// The permission bit that lets everyone read a file.
        const READ_BY_OTHERS: u32 = 0o004;
        let failed = |error: std::io::Error| MasterKeyError::File {
            path: path.to_owned(),
            error: error.to_string(),
        };
        let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
        if mode & READ_BY_OTHERS != 0 {
            return Err(MasterKeyError::Exposed(path.to_owned()));
        }
        let text = Zeroizing::new(fs::read_to_string(path).map_err(failed)?);
        Self::parse(&text).map_err(|error| MasterKeyError::File {
            path: path.to_owned(),
            error: error.to_string(),
        })
    }

    /// Reads the generated key, or makes one. Of several processes that start at once, one makes it.
    fn generate(path: &Path) -> Result<Self, MasterKeyError> {
        if path.exists() {
            return Self::read(path);
        }
        let failed = |error: std::io::Error| MasterKeyError::File {
            path: path.to_owned(),
            error: error.to_string(),
        };
        let mut key = Zeroizing::new([0_u8; KEY_BYTES]);
        SystemRandom::new()
            .fill(key.as_mut_slice())
            .map_err(|_| MasterKeyError::File {
                path: path.to_owned(),
                error: "the operating system gives no random bytes".to_owned(),
            })?;
        let text = Zeroizing::new(STANDARD.encode(key.as_slice()));
        // Written whole under another name first: a half-written key is never seen.
        let draft = path.with_extension(format!("{}.draft", std::process::id()));
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)
            .map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        let linked = fs::hard_link(&draft, path);
        fs::remove_file(&draft).map_err(failed)?;
        match linked {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(failed(error)),
            _ => Self::read(path),
        }
    }

    /// Derives the key for a purpose.
    #[must_use]
    pub fn derive(&self, purpose: KeyPurpose) -> Zeroizing<[u8; KEY_BYTES]> {
        let mut derived = Zeroizing::new([0; KEY_BYTES]);
        let info = [purpose.label()];
        let _ = Salt::new(HKDF_SHA256, &[])
            .extract(self.0.as_slice())
            .expand(&info, DerivedKey)
            .and_then(|key| key.fill(derived.as_mut_slice()));
        derived
    }
}

/// Tells HKDF how many bytes to derive.
struct DerivedKey;

impl KeyType for DerivedKey {
    fn len(&self) -> usize {
        KEY_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::{KeyPurpose, MasterKey};

    #[test]
    fn keys_differ_by_purpose_and_are_never_empty() {
        let key = MasterKey::parse("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").expect("a key");
        let tokens = key.derive(KeyPurpose::PageTokens);
        let fingerprints = key.derive(KeyPurpose::RequestFingerprints);
        assert_ne!(tokens, fingerprints);
        assert_ne!(*tokens, [0; 32]);
        assert_ne!(*fingerprints, [0; 32]);
    }

    #[test]
    fn placeholders_are_refused() {
        for text in ["", "secret", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="] {
            assert!(MasterKey::parse(text).is_err(), "{text}");
        }
    }
}
