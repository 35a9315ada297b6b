//! The programs of PostgreSQL on this machine, and the account they may run as.

use std::env;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The oldest version that the service supports.
const OLDEST_VERSION: u32 = 14;

/// The folder that holds the programs.
pub struct Programs {
    folder: PathBuf,
    /// The major version.
    pub version: u32,
}

impl Programs {
    /// Finds the programs, or says why there are none.
    pub fn find() -> Result<&'static Self, String> {
        static FOUND: OnceLock<Option<Programs>> = OnceLock::new();
        FOUND.get_or_init(|| folders().iter().find_map(|folder| Self::in_folder(folder))).as_ref().ok_or_else(|| {
            format!(
                "no initdb and postgres of version {OLDEST_VERSION} or later in PATH, where pg_config points, \
                 or in /usr/lib/postgresql; TEST_DATABASE_URL is not set"
            )
        })
    }

    /// Takes the programs of a folder if they belong together and are recent enough. Links are followed:
    /// only the real folder has all of the programs.
    fn in_folder(folder: &Path) -> Option<Self> {
        let real = |name: &str| fs::canonicalize(folder.join(name)).ok();
        let (initdb, postgres) = (real("initdb")?, real("postgres")?);
        if initdb.parent() != postgres.parent() {
            return None;
        }
        let version = major_version(&output_of(Command::new(&postgres).arg("--version"))?)?;
        (version >= OLDEST_VERSION).then_some(Self {
            folder: postgres.parent()?.to_owned(),
            version,
        })
    }

    /// Prepares a program to run in `directory`, as the owner of that folder, with nothing of our environment
    /// that could lead it elsewhere, and out of the reach of a Ctrl-C meant for the tests.
    pub fn command(&self, name: &str, directory: &Path) -> Command {
        let mut command = Command::new(self.folder.join(name));
        command
            .current_dir(directory)
            .env_clear()
            .env("PATH", env::var_os("PATH").unwrap_or_default())
            .env("LC_ALL", "C")
            .process_group(0);
        let owner = fs::metadata(directory).unwrap();
        if owner.uid() != our_user_id() {
            command.uid(owner.uid()).gid(owner.gid());
        }
        command
    }
}

/// Returns the folders to look in, the most explicit first.
fn folders() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = env::split_paths(&path).collect();
    if let Some(folder) = output_of(Command::new("pg_config").arg("--bindir")) {
        folders.push(PathBuf::from(folder.trim()));
    }
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            Some((
                entry.file_name().to_str()?.parse().ok()?,
                entry.path().join("bin"),
            ))
        })
        .collect();
    versions.sort();
    folders.extend(versions.into_iter().rev().map(|(_, folder)| folder));
    folders
}

/// Reads the major version from `postgres (PostgreSQL) 15.18 (…)`.
fn major_version(text: &str) -> Option<u32> {
    let (_, version) = text.split_once("(PostgreSQL) ")?;
    let digits = version
        .split(|character: char| !character.is_ascii_digit())
        .next()?;
    digits.parse().ok()
}

fn output_of(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Gives a file or folder to the account that PostgreSQL runs as: ours, but never root, as which it refuses
/// to run.
pub fn give_to_postgres(path: &Path) {
    if our_user_id() != 0 {
        return;
    }
    let accounts = fs::read_to_string("/etc/passwd").expect("/etc/passwd");
    let (user, group) = ["postgres", "nobody"]
        .into_iter()
        .find_map(|name| ids_of(&accounts, name))
        .expect("an account other than root, `postgres` or `nobody`");
    chown(path, Some(user), Some(group)).unwrap();
}

/// Finds an account in the text of `/etc/passwd`: `name:password:user id:group id:…`.
fn ids_of(accounts: &str, name: &str) -> Option<(u32, u32)> {
    let account = accounts
        .lines()
        .find(|line| line.split(':').next() == Some(name))?;
    let mut ids = account.split(':').skip(2).map_while(|id| id.parse().ok());
    Some((ids.next()?, ids.next()?))
}

/// Returns the id of the user that the tests run as: the owner of a file that they make.
fn our_user_id() -> u32 {
    static OURS: OnceLock<u32> = OnceLock::new();
    *OURS.get_or_init(|| tempfile::tempfile().unwrap().metadata().unwrap().uid())
}
